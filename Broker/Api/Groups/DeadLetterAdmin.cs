using Broker.Cluster;
using Broker.ClusterState;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf.Collections;

namespace Broker.Api;

/// <summary>
/// What operators do with the dead letters of consumer groups: a topic of each group's, with one partition in every
/// data shard. Reading them is reading that topic; taking them is the shards' leaders' business.
/// </summary>
internal sealed class DeadLetterAdmin(
    BrokerNode node, GroupRegistry registry, IConsumerGroups groups, TopicReaders readers, TimeProvider time)
{
    /// <summary>A page ends behind the one with which it becomes larger.</summary>
    private const int PageBytes = 1024 * 1024;

    public async Task<ListDeadLettersResponse> ListAsync(
        ListDeadLettersRequest request, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(request.Group);
        var (partition, offset) = PageTokens.Read(request.PageToken);
        var size = request.PageSize == 0
            ? Limits.DefaultDeadLettersPerPage
            : (int)Math.Min(request.PageSize, Limits.DeadLettersPerPage);
        var group = await registry.FindLatestAsync(request.Group, cancellationToken);
        var topic = DeadLetters.TopicOf(request.Group);
        var home = node.Shards.GroupOf(topic);
        await node.CatchUpAsync(home, cancellationToken);
        var response = new ListDeadLettersResponse();
        if (!node.TopicsOf(home).TryGetTopic(topic, out var view))
        {
            return group is not null ? response : throw Refusal.NotFound(
                $"There is no consumer group '{request.Group}', and there are no dead letters of one.");
        }

        for (var bytes = 0L; partition < view.Partitions; (partition, offset) = (partition + 1, 0))
        {
            await foreach (var letter in ReadAsync(view, home, partition, offset, group?.Number, cancellationToken))
            {
                if (response.DeadLetters.Count == size || bytes >= PageBytes)
                {
                    response.NextPageToken = PageTokens.Of(partition, letter.Position.Offset);
                    return response;
                }

                response.DeadLetters.Add(letter);
                bytes += letter.CalculateSize();
            }
        }

        return response;
    }

    public async Task<RedriveDeadLettersResponse> RedriveAsync(
        RedriveDeadLettersRequest request, CancellationToken cancellationToken)
    {
        if (request.Rate is { } asked && asked is 0 or > Limits.RedrivesPerSecond)
        {
            throw Refusal.InvalidArgument(
                $"rate is {request.Rate}; it is 1 to {Limits.RedrivesPerSecond:N0} records per second, or absent for "
                + "as fast as possible. Nothing was redriven.");
        }

        var (taking, group) = await BeginAsync(request.Group, request.Positions, isPurge: false, cancellationToken);
        if (request.ContinueToken.Length > 0)
        {
            taking.ReadToken(request.ContinueToken);
        }

        await taking.RunAsync(group, request.Rate, Limits.DeadLetterCallMs, cancellationToken);
        return new RedriveDeadLettersResponse
        {
            Count = taking.Count,
            Remaining = taking.Remaining,
            ContinueToken = taking.Remaining > 0 ? taking.Token : "",
        };
    }

    public async Task<PurgeDeadLettersResponse> PurgeAsync(
        PurgeDeadLettersRequest request, CancellationToken cancellationToken)
    {
        var (taking, group) = await BeginAsync(request.Group, request.Positions, isPurge: true, cancellationToken);
        await taking.RunAsync(group, rate: null, Limits.DeadLetterCallMs, cancellationToken);
        return new PurgeDeadLettersResponse { Count = taking.Count, Remaining = taking.Remaining };
    }

    private async Task<(DeadLetterTaking Taking, ConsumerGroup Group)> BeginAsync(
        string name,
        RepeatedField<DeadLetterPosition> positions,
        bool isPurge,
        CancellationToken cancellationToken)
    {
        if (positions.Count > Limits.DeadLettersPerPage)
        {
            throw Refusal.InvalidArgument(
                $"The request names {positions.Count:N0} dead letters; it names at most "
                + $"{Limits.DeadLettersPerPage:N0}, or none for all.");
        }

        foreach (var position in positions)
        {
            if (position.Offset < 0 || position.Partition >= Limits.PartitionsPerTopic)
            {
                throw Refusal.InvalidArgument(
                    $"There is no dead letter at offset {position.Offset} of partition {position.Partition}; take "
                    + "positions as ListDeadLetters gives them.");
            }
        }

        var group = await registry.FindAsync(name, cancellationToken);
        return (new DeadLetterTaking(groups, node.Shards, group.Name, positions, isPurge, time), group);
    }

    /// <summary>Those of a partition that nobody took.</summary>
    private async IAsyncEnumerable<DeadLetter> ReadAsync(
        TopicView topic,
        GroupId home,
        int partition,
        long from,
        int? group,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var shard = node.Shards.GroupOf(home, partition);
        var place = topic.Partitions > 1 ? topic.PartitionNameOf(partition) : topic.Name;
        var machine = node.TopicsOf(shard);
        await node.CatchUpAsync(shard, cancellationToken);
        var handled = group is { } number
            ? await node.Group(shard).AskAsync(() => machine.Module<GroupProgressModule>().Handled(number, place))
            : new SettledOffsets(0);
        if (!machine.TryGetTopic(place, out var view) || view.NextOffset <= Math.Max(from, handled.Floor))
        {
            yield break;
        }

        var read = new Protocol.Wire.ReadRequest
        {
            Topic = topic.Name,
            Partition = (uint)partition,
            Offset = Math.Max(from, handled.Floor),
            Linearizable = true,
        };
        await foreach (var page in readers.ReadAsync(read, isForOther: false, cancellationToken))
        {
            foreach (var batch in page.Batches)
            {
                var records = RecordBatch.Parser.ParseFrom(batch.Batch.Span).Records;
                for (var i = 0; i < records.Count; i++)
                {
                    var offset = batch.BaseOffset + i;
                    if (offset >= read.Offset && !handled.Contains(offset)
                        && ToLetter(partition, offset, batch.TimestampUnixMs, records[i]) is { } letter)
                    {
                        yield return letter;
                    }
                }
            }
        }
    }

    private static DeadLetter? ToLetter(int partition, long offset, long deadUnixMs, Record record) =>
        DeadLetters.TakeOrigin(record, out var attempts, out var reason) is { } origin
            ? new DeadLetter
            {
                Position = new DeadLetterPosition { Partition = (uint)partition, Offset = offset },
                Topic = origin.Topic,
                Partition = (uint)origin.Partition,
                Offset = origin.Offset,
                TimestampUnixMs = origin.TimestampUnixMs,
                DeadUnixMs = deadUnixMs,
                Attempts = (uint)attempts,
                Reason = reason,
                Record = record,
            }
            : null;
}
