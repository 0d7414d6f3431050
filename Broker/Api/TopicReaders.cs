using System.Runtime.CompilerServices;
using Broker.Client;
using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Brings a read request to the reader of its topic's shard, and to another node where that cannot give the records.
/// </summary>
internal sealed class TopicReaders(BrokerNode node, TailSignal tail, ReadCatchUp catchUp, ReadElsewhere elsewhere)
{
    private static readonly SemaphoreSlim KeyReads = new(Limits.KeyReadsAtOnce);

    private readonly Dictionary<GroupId, TopicReader> _readers = node.DataShards.ToDictionary(
        static shard => shard.Group, shard => Make(node, tail, shard.Group));

    /// <summary>The reader of a shard's topics.</summary>
    public static TopicReader Make(BrokerNode node, TailSignal tail, GroupId shard) =>
        new(node.TopicsOf(shard), tail, node.Group(shard).ReadEntries)
        {
            Group = shard,
            LostThrough = index => node.LostThrough(shard, index),
            KeyReads = KeyReads,
        };

    /// <summary>What comes to all topics that the request's filters match; see <see cref="FilterReader"/>.</summary>
    /// <exception cref="BrokerException">InvalidArgument, and as FilterReader.</exception>
    public async IAsyncEnumerable<SubscribedPage> SubscribeAsync(
        SubscribeRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var (filters, start) = Subscriptions.Read(request);
        if (!start.FromBeginning)
        {
            // The end, and where a time is, only a replica knows that has all that was acknowledged before.
            await catchUp.TryReachEndAsync(_readers.Keys, cancellationToken);
        }

        var reader = new FilterReader(_readers, node.Shards, tail, elsewhere);
        await foreach (var page in reader.ReadAsync(filters, start, cancellationToken))
        {
            yield return page;
        }
    }

    /// <param name="request">What is to be read.</param>
    /// <param name="isForOther">Another node asks, as it has not got it: what is not here either is refused.</param>
    /// <param name="cancellationToken">Ends the read.</param>
    public async IAsyncEnumerable<ReadPage> ReadAsync(
        ReadRequest request, bool isForOther, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (!TopicName.Validate(request.Topic, out var reason))
        {
            throw Refusal.InvalidArgument(reason);
        }

        var group = node.Shards.GroupOf(request.Topic);
        var topics = node.TopicsOf(group);
        if (request.Linearizable)
        {
            await node.CatchUpAsync(group, cancellationToken);
        }

        var id = new TopicId(request.TopicId);
        if (!id.IsNone)
        {
            await CheckIdAsync(group, topics, request.Topic, id, cancellationToken);
        }

        var place = request.Partition == 0
            ? new ReadPlace(group, request.Topic)
            : await FindPartitionAsync(request, group, cancellationToken);
        var isLastPerKey = request.HasPosition && request.Position == StartPosition.LastPerKey;
        if (request.Linearizable && place.Group != group)
        {
            await node.CatchUpAsync(place.Group, cancellationToken);
        }

        var start = request.Linearizable
            ? StartOf(request, node.TopicsOf(place.Group), place.Name)
            : await ReachStartAsync(request, place, isLastPerKey, cancellationToken);

        long records = 0;
        var pages = ReadHere(request, place, start, isLastPerKey, cancellationToken);
        await foreach (var page in isForOther ? pages
            : ReadAnywhereAsync(pages, request, place, start, isLastPerKey, cancellationToken))
        {
            yield return page;

            // Records before the start, and offsets whose records are gone, do not count.
            foreach (var batch in page.Batches)
            {
                records += batch.BaseOffset + batch.Count - Math.Max(start, batch.BaseOffset);
            }

            start = page.NextOffset;
            if (request.MaxRecords > 0 && records >= request.MaxRecords)
            {
                yield break;
            }
        }

        if (!request.Linearizable && catchUp.WhyNotAll(place.Group) is { } cannotTell)
        {
            // What it has was given; whether that is all nobody can say.
            throw cannotTell;
        }
    }

    private IAsyncEnumerable<ReadPage> ReadHere(
        ReadRequest request, ReadPlace place, long start, bool isLastPerKey, CancellationToken cancellationToken)
    {
        var reader = _readers[place.Group];
        return isLastPerKey
            ? reader.ReadLastPerKeyAsync(place.Name, request.Follow, cancellationToken, place.Number, place.Topic)
            : reader.ReadAsync(place.Name, start, request.Follow, cancellationToken, place.Number, place.Topic);
    }

    /// <summary>What this node has not got comes from another one; then it goes on here.</summary>
    private async IAsyncEnumerable<ReadPage> ReadAnywhereAsync(
        IAsyncEnumerable<ReadPage> here,
        ReadRequest request,
        ReadPlace place,
        long start,
        bool isLastPerKey,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (var (began, isAtEnd) = (start, false); !isAtEnd;)
        {
            BrokerException? refusal;
            await using (var pages = here.GetAsyncEnumerator(cancellationToken))
            {
                while (true)
                {
                    (var isThere, refusal) = await TryMoveNextAsync(pages);
                    if (!isThere)
                    {
                        break;
                    }

                    start = pages.Current.NextOffset;
                    yield return pages.Current;
                }
            }

            if (refusal is null)
            {
                yield break;
            }

            var before = start;
            if (!isLastPerKey || start == began)
            {
                var asked = ForOther(request, place, start, isLastPerKey);
                await foreach (var page in elsewhere.ReadAsync(place.Group, asked, cancellationToken))
                {
                    start = page.NextOffset;
                    yield return page;
                }
            }

            if (start == before)
            {
                throw refusal;
            }

            // Of the last of each key the other one has given all, and has followed where it was to.
            isAtEnd = isLastPerKey || (!request.Follow && start >= EndOf(place));
            here = ReadHere(request, place, start, isLastPerKey: false, cancellationToken);
        }
    }

    /// <summary>There is another page; or none, and nothing more to say; or it is to be read elsewhere.</summary>
    private static async ValueTask<(bool IsThere, BrokerException? Refusal)> TryMoveNextAsync(
        IAsyncEnumerator<ReadPage> pages)
    {
        try
        {
            return (await pages.MoveNextAsync(), null);
        }
        catch (BrokerException elsewhere) when (elsewhere.Code == RefusalCode.ReadElsewhere)
        {
            return (false, elsewhere);
        }
    }

    private ReadRequest ForOther(ReadRequest request, ReadPlace place, long start, bool isLastPerKey)
    {
        var topics = node.TopicsOf(place.Group);
        var id = !place.Topic.IsNone || !topics.TryGetTopic(place.Name, out var topic)
            ? place.Topic
            : new TopicId(place.Group, topic.Number);
        var asked = new ReadRequest { Topic = request.Topic, Partition = request.Partition, TopicId = id.Value };
        if (isLastPerKey)
        {
            (asked.Position, asked.Follow) = (StartPosition.LastPerKey, request.Follow);
        }
        else
        {
            asked.Offset = start;
        }

        return asked;
    }

    private long EndOf(ReadPlace place) =>
        node.TopicsOf(place.Group).TryGetTopic(place.Name, out var topic) ? topic.NextOffset : 0;

    /// <summary>The first offset that is wanted, when this node has it, or as much as the leader.</summary>
    private async Task<long> ReachStartAsync(
        ReadRequest request, ReadPlace place, bool isLastPerKey, CancellationToken cancellationToken)
    {
        if (request.StartCase == ReadRequest.StartOneofCase.TimeUnixMs || (isLastPerKey && !request.Follow))
        {
            // What was acknowledged before the read began must not be missed: a replica that lags learns of it first.
            await catchUp.WaitForEndAsync(place.Group, place.Name, cancellationToken);
        }

        if (request.HasPosition && request.Position == StartPosition.End)
        {
            await catchUp.TryReachEndAsync([place.Group], cancellationToken);
        }

        var start = StartOf(request, node.TopicsOf(place.Group), place.Name);
        if (node.Group(place.Group).Status.Condition is { IsLost: true } or { IsPassive: true } or { IsFenced: true })
        {
            // What it has may be far from all: the leader says how much that is.
            await (request.Follow && catchUp.WhyNotAll(place.Group) is null
                ? Task.CompletedTask
                : catchUp.WaitForEndAsync(place.Group, place.Name, cancellationToken));
        }

        if (isLastPerKey && request.Follow)
        {
            await TryCatchUpAsync(place, cancellationToken);
        }

        if (!request.Follow && !isLastPerKey && start >= 0
            && request.StartCase != ReadRequest.StartOneofCase.TimeUnixMs
            && !(request.HasPosition && request.Position == StartPosition.End))
        {
            await catchUp.WaitAsync(place.Group, place.Name, start, cancellationToken);
        }

        return start;
    }

    /// <summary>
    /// Which record is the last of its key only a replica can say that has all that was acknowledged. Who follows has
    /// time: without a leader it begins with what is here, and the rest comes.
    /// </summary>
    private async Task TryCatchUpAsync(ReadPlace place, CancellationToken cancellationToken)
    {
        try
        {
            await catchUp.WaitForEndAsync(place.Group, place.Name, cancellationToken);
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.NoLeader)
        {
            // Nobody knows more at the moment.
        }
    }

    /// <summary>
    /// Where a partition other than the first is. The topic says so, in the shard of its first partition: before this
    /// node says that there is none, it has as much of the topic as the leader. Who follows waits for the topic.
    /// </summary>
    private async Task<ReadPlace> FindPartitionAsync(
        ReadRequest request, GroupId home, CancellationToken cancellationToken)
    {
        using var waiter = tail.Register(request.Topic);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Limits.ReadCatchUpMs);
        var topics = node.TopicsOf(home);
        for (var isSure = false; ;)
        {
            var isThere = topics.TryGetTopic(request.Topic, out var topic);
            var partitions = isThere ? topic.Partitions : 0;
            if (request.Partition < partitions && topic.PartitionNumber((int)request.Partition) is >= 0 and var number)
            {
                return new ReadPlace(
                    node.Shards.GroupOf(home, (int)request.Partition),
                    topic.PartitionNameOf((int)request.Partition),
                    number,
                    new TopicId(home, topic.Number));
            }

            if (isSure && (isThere ? request.Partition >= partitions : !request.Follow))
            {
                throw isThere
                    ? Refusal.NoSuchPartition(request.Topic, request.Partition, partitions)
                    : Refusal.NotFound($"There is no topic '{request.Topic}'.");
            }

            if (isSure)
            {
                await WaitAsync(waiter, request, patience.Token, cancellationToken);
            }

            await catchUp.WaitForEndAsync(home, request.Topic, cancellationToken);
            isSure = true;
        }
    }

    private static async Task WaitAsync(
        TailWaiter waiter, ReadRequest request, CancellationToken patience, CancellationToken cancellationToken)
    {
        try
        {
            await waiter.WaitAsync(request.Follow ? cancellationToken : patience);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Refusal.PartitionsChanged(request.Topic);
        }
    }

    /// <summary>
    /// Numbers rise: a topic with a lower one than this replica's is deleted, one with a higher one is still to come
    /// here.
    /// </summary>
    private async ValueTask CheckIdAsync(
        GroupId group, TopicStateMachine topics, string topic, TopicId id, CancellationToken cancellationToken)
    {
        if (!id.IsOf(group))
        {
            throw Refusal.InvalidArgument(
                $"topic_id is {id.Value}, which no topic named '{topic}' can have; take it from an answer to a publish "
                + "or a read of this topic, or leave it out.");
        }

        if (topics.TryGetTopic(topic, out var known) && known.Number == id.Number)
        {
            return;
        }

        await catchUp.WaitForEndAsync(group, topic, cancellationToken);
        if (!topics.TryGetTopic(topic, out known) || known.Number != id.Number)
        {
            throw Refusal.TopicDeleted(topic);
        }
    }

    private static long StartOf(ReadRequest request, TopicStateMachine topics, string name) => request.StartCase switch
    {
        ReadRequest.StartOneofCase.Offset => request.Offset,
        ReadRequest.StartOneofCase.Position => OffsetOf(request, topics, name),
        ReadRequest.StartOneofCase.TimeUnixMs => OffsetAt(request, topics, name),
        _ => 0,
    };

    private static long OffsetAt(ReadRequest request, TopicStateMachine topics, string name)
    {
        if (request.TimeUnixMs < 0)
        {
            throw Refusal.InvalidArgument(
                $"time_unix_ms is {request.TimeUnixMs}; a time is in milliseconds since 1970 and not negative.");
        }

        if (!topics.TryGetTopic(name, out var topic))
        {
            return 0;
        }

        return topic.TryFindTime(request.TimeUnixMs, out var offset)
            ? offset
            : throw Refusal.FailedPrecondition(
                $"This replica cannot say now where topic '{name}' was at that time; read from another one.");
    }

    private static long OffsetOf(
        ReadRequest request, TopicStateMachine topics, string name) => request.Position switch
        {
            StartPosition.Unspecified or StartPosition.Beginning or StartPosition.LastPerKey => 0,
            StartPosition.End => topics.TryGetTopic(name, out var topic) ? topic.NextOffset : 0,
            _ => throw Refusal.InvalidArgument($"Start position {(int)request.Position} does not exist."),
        };

    /// <summary>What a read is to look for, and where.</summary>
    /// <param name="Group">The shard.</param>
    /// <param name="Name">Under which name the topic, or its partition, stands there.</param>
    /// <param name="Number">The number that the partition has there; null: the first partition, of any number.</param>
    /// <param name="Topic">The topic's id, when it is not that of what is read.</param>
    private readonly record struct ReadPlace(GroupId Group, string Name, int? Number = null, TopicId Topic = default);
}
