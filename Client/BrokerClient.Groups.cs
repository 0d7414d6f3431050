using System.Runtime.CompilerServices;
using Broker.Protocol.V1;
using Google.Protobuf.Collections;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Makes a consumer group. Making it again with the same settings succeeds. What is published after the answer it
    /// gets, wherever it begins.
    /// </summary>
    /// <param name="group">Tokens as in a topic's name, 1 to 245 bytes of UTF-8.</param>
    /// <param name="settings">What it follows, and how it delivers; needs filters.</param>
    /// <param name="start">Where it begins in topics that are there; by default at the beginning.</param>
    /// <param name="cancellationToken">Ends the waiting; the group may come to be all the same.</param>
    /// <returns>The settings, with every part set.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name or setting. AlreadyExists: the group has other settings. ResourceExhausted: 1,000
    /// groups already. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<GroupSettings> CreateGroupAsync(
        string group,
        GroupSettings settings,
        GroupPlace? start = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        ArgumentNullException.ThrowIfNull(settings);
        var request = new CreateGroupRequest { Name = group, Config = ToConfig(settings) };
        switch (start)
        {
            case { Offset: not null }:
                throw ClientErrors.Invalid(
                    "A group begins at a time, at the beginning or at the end, not at an offset.");
            case { Time: { } time }:
                request.Config.TimeUnixMs = Math.Max(0, time.ToUnixTimeMilliseconds());
                break;
            default:
                request.Config.Position = start is { IsEnd: true } ? StartPosition.End : StartPosition.Beginning;
                break;
        }

        var response = await CallAnyAsync(
            $"Creating group '{group}'", (c, o) => c.Admin.CreateGroupAsync(request, Patient(o)), cancellationToken);
        return ToSettings(response.Config);
    }

    /// <summary>Changes those settings of a group that are not null.</summary>
    /// <param name="group">An existing group.</param>
    /// <param name="settings">What is to change.</param>
    /// <param name="cancellationToken">Ends the waiting; the change may take place all the same.</param>
    /// <returns>The new settings, with every part set.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group. InvalidArgument: a bad setting. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<GroupSettings> UpdateGroupAsync(
        string group, GroupSettings settings, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        ArgumentNullException.ThrowIfNull(settings);
        var request = new UpdateGroupRequest { Name = group, Config = ToConfig(settings) };
        var response = await CallAnyAsync(
            $"Changing group '{group}'", (c, o) => c.Admin.UpdateGroupAsync(request, o), cancellationToken);
        return ToSettings(response.Config);
    }

    /// <summary>The groups whose names begin so, as the node that answers has applied them.</summary>
    /// <param name="prefix">Beginning of the names; empty: all groups.</param>
    /// <param name="figures">
    /// Whether consumers, lag and dead letters are wanted, which asks every shard's leader.
    /// </param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Ordered by name.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no broker answered for OperationTimeout.</exception>
    public async ValueTask<IReadOnlyList<GroupInfo>> ListGroupsAsync(
        string prefix = "", bool figures = false, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        var groups = new List<GroupInfo>();
        var request = new ListGroupsRequest { Prefix = prefix, Figures = figures };
        do
        {
            var page = await CallAnyAsync(
                "Listing groups", (c, o) => c.Admin.ListGroupsAsync(request, o), cancellationToken);
            groups.AddRange(page.Groups.Select(ToInfo));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return groups;
    }

    /// <summary>A group's settings, its consumers, and how far it is.</summary>
    /// <param name="group">An existing group.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>As the leaders of the shards know it.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group. Unavailable: a shard had no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<GroupDetails> DescribeGroupAsync(
        string group, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        var request = new DescribeGroupRequest { Name = group };
        var response = await CallAnyAsync(
            $"Describing group '{group}'", (c, o) => c.Admin.DescribeGroupAsync(request, o), cancellationToken);
        return new GroupDetails(
            ToInfo(response.Group),
            ToSettings(response.Config),
            [.. response.Consumers.Select(static each => new GroupConsumerInfo(
                each.Name, (int)each.NodeId, (int)each.Outstanding, (int)each.CreditRecords, each.Served))],
            [.. response.Progress.Select(ToProgress)]);
    }

    /// <summary>
    /// Removes a group and what it remembers; its consumers hear GroupDeleted. Its dead letters stay, until the topic
    /// "$dlq." and its name is deleted.
    /// </summary>
    /// <param name="group">An existing group.</param>
    /// <param name="cancellationToken">Ends the waiting; the group may be removed all the same.</param>
    /// <returns>
    /// True; false when there is no such group, which a repeated try cannot tell from its own success.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<bool> DeleteGroupAsync(string group, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        try
        {
            await CallAnyAsync(
                $"Deleting group '{group}'",
                (c, o) => c.Admin.DeleteGroupAsync(new DeleteGroupRequest { Name = group }, o),
                cancellationToken);
            return true;
        }
        catch (BrokerClientException refusal) when (refusal.Code == BrokerClientErrorCode.NotFound)
        {
            return false;
        }
    }

    /// <summary>
    /// Sets where a group goes on: back to deliver again, ahead to skip. What consumers hold of it is theirs no longer.
    /// </summary>
    /// <param name="group">An existing group.</param>
    /// <param name="to">Where to go.</param>
    /// <param name="topic">A topic that it follows; null: all of them.</param>
    /// <param name="partition">One of its partitions; null: all.</param>
    /// <param name="cancellationToken">Ends the waiting; the group may move all the same.</param>
    /// <returns>Where it is now, in each partition concerned.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group, or it does not follow the topic. OutOfRange: the offset is beyond the end.
    /// InvalidArgument: an offset without a topic. Unavailable: a shard had no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<IReadOnlyList<GroupProgressInfo>> SeekGroupAsync(
        string group,
        GroupPlace to,
        string? topic = null,
        int? partition = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        ArgumentNullException.ThrowIfNull(to);
        var request = new SeekGroupRequest { Name = group, Topic = topic ?? "", Partition = (uint?)partition };
        if (to.Offset is { } offset)
        {
            request.Offset = offset;
        }
        else if (to.Time is { } time)
        {
            request.TimeUnixMs = Math.Max(0, time.ToUnixTimeMilliseconds());
        }
        else
        {
            request.Position = to.IsEnd ? StartPosition.End : StartPosition.Beginning;
        }

        var response = await CallAnyAsync(
            $"Moving group '{group}'", (c, o) => c.Admin.SeekGroupAsync(request, Patient(o)), cancellationToken);
        return [.. response.Progress.Select(ToProgress)];
    }

    /// <summary>The dead letters of a group that nobody took, page by page.</summary>
    /// <param name="group">The group, or one that was deleted.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>By their positions.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group, and no dead letters of it. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async IAsyncEnumerable<DeadLetter> ListDeadLettersAsync(
        string group, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        var request = new ListDeadLettersRequest { Group = group };
        do
        {
            var page = await CallAnyAsync(
                $"Listing dead letters of group '{group}'",
                (c, o) => c.Admin.ListDeadLettersAsync(request, Patient(o)),
                cancellationToken);
            foreach (var letter in page.DeadLetters)
            {
                yield return ToDeadLetter(letter);
            }

            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    /// <summary>
    /// Has dead letters delivered to their group again, as if for the first time: those that there are when it begins.
    /// </summary>
    /// <param name="group">An existing group.</param>
    /// <param name="positions">Which ones, at most 1,000; null: all. What is gone is passed over.</param>
    /// <param name="ratePerSecond">1 to 100,000; null: as fast as possible.</param>
    /// <param name="cancellationToken">Ends it; those that were taken are delivered all the same.</param>
    /// <returns>How many were taken; of a try that got no answer it does not know.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group. InvalidArgument: a rate that is none. Unavailable: a shard had no leader for
    /// OperationTimeout. Those before are delivered; again goes on with the rest.
    /// </exception>
    public async ValueTask<long> RedriveDeadLettersAsync(
        string group,
        IEnumerable<DeadLetterPosition>? positions = null,
        int? ratePerSecond = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        var request = new RedriveDeadLettersRequest
        {
            Group = group,
            Rate = ratePerSecond is { } rate ? (uint)Number("ratePerSecond", rate) : null,
        };
        if (positions is not null && !TryAdd(positions, request.Positions))
        {
            return 0;
        }

        var count = 0L;
        do
        {
            var response = await CallAnyAsync(
                $"Redriving dead letters of group '{group}'",
                (c, o) => c.Admin.RedriveDeadLettersAsync(request, Patient(o)),
                cancellationToken);
            count += response.Count;
            request.ContinueToken = response.ContinueToken;
        }
        while (request.ContinueToken.Length > 0);
        return count;
    }

    /// <summary>Removes dead letters for good.</summary>
    /// <param name="group">An existing group.</param>
    /// <param name="positions">Which ones, at most 1,000; null: all. What is gone is passed over.</param>
    /// <param name="cancellationToken">Ends the waiting; they may be removed all the same.</param>
    /// <returns>How many were removed; of a try that got no answer it does not know.</returns>
    /// <exception cref="BrokerClientException">As RedriveDeadLettersAsync.</exception>
    public async ValueTask<long> PurgeDeadLettersAsync(
        string group,
        IEnumerable<DeadLetterPosition>? positions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        var request = new PurgeDeadLettersRequest { Group = group };
        if (positions is not null && !TryAdd(positions, request.Positions))
        {
            return 0;
        }

        for (var count = 0L; ;)
        {
            var response = await CallAnyAsync(
                $"Purging dead letters of group '{group}'",
                (c, o) => c.Admin.PurgeDeadLettersAsync(request, Patient(o)),
                cancellationToken);
            count += response.Count;
            if (response.Remaining == 0)
            {
                return count;
            }
        }
    }

    /// <summary>False: none is named, which must not be taken for all.</summary>
    private static bool TryAdd(
        IEnumerable<DeadLetterPosition> positions, RepeatedField<Protocol.V1.DeadLetterPosition> into)
    {
        foreach (var (partition, offset) in positions)
        {
            into.Add(new Protocol.V1.DeadLetterPosition { Partition = (uint)partition, Offset = offset });
        }

        return into.Count > 0;
    }

    private static GroupConfig ToConfig(GroupSettings settings)
    {
        var config = new GroupConfig
        {
            AckWaitMs = settings.AckWait is { } wait ? Number("AckWait", (long)wait.TotalMilliseconds) : null,
            MaxDeliveries = settings.MaxDeliveries is { } times ? (uint)Number("MaxDeliveries", times) : null,
            MaxOutstanding = settings.MaxOutstanding is { } most ? (uint)Number("MaxOutstanding", most) : null,
            DeadLetters = settings.KeepDeadLetters,
            Paused = settings.Paused,
            Mode = (Protocol.V1.GroupMode)(settings.Mode ?? 0),
            Order = (Protocol.V1.GroupOrder)(settings.Order ?? 0),
        };
        config.Filters.AddRange(settings.Filters ?? []);
        if (settings.BackOff is { } waits)
        {
            config.BackOff = new BackOff();
            config.BackOff.WaitMs.AddRange(
                waits.Select(static each => Number("BackOff", (long)each.TotalMilliseconds)));
        }

        return config;
    }

    private static GroupSettings ToSettings(GroupConfig config) => new()
    {
        Filters = [.. config.Filters],
        AckWait = Milliseconds(config.AckWaitMs),
        MaxDeliveries = (int)(config.MaxDeliveries ?? 0),
        BackOff = [.. (config.BackOff?.WaitMs ?? []).Select(static wait => Milliseconds(wait))],
        MaxOutstanding = (int)(config.MaxOutstanding ?? 0),
        KeepDeadLetters = config.DeadLetters ?? true,
        Paused = config.Paused ?? false,
        Mode = (GroupMode)config.Mode,
        Order = (GroupOrder)config.Order,
    };

    private static GroupInfo ToInfo(GroupSummary group) =>
        new(group.Name, group.Paused, (int)group.Consumers, group.LagRecords, group.DeadLetters);

    private static GroupProgressInfo ToProgress(Protocol.V1.GroupProgress progress) => new(
        progress.Topic,
        (int)progress.Partition,
        progress.AckFloor,
        progress.NextOffset,
        progress.LagRecords,
        TimeSpan.FromMilliseconds(progress.LagMs),
        (int)progress.Outstanding,
        (int)progress.Waiting,
        (long)progress.Redeliveries,
        (long)progress.Expired);

    private static DeadLetter ToDeadLetter(Protocol.V1.DeadLetter letter) => new(
        new DeadLetterPosition((int)letter.Position.Partition, letter.Position.Offset),
        new BrokerRecord
        {
            Topic = letter.Topic,
            Partition = (int)letter.Partition,
            Offset = letter.Offset,
            Timestamp = DateTimeOffset.FromUnixTimeMilliseconds(letter.TimestampUnixMs),
            Key = letter.Record.Key.Memory,
            Value = letter.Record.Value.Memory,
            Headers = [.. letter.Record.Headers.Select(static each =>
                new KeyValuePair<string, ReadOnlyMemory<byte>>(each.Name, each.Value.Memory))],
        },
        DateTimeOffset.FromUnixTimeMilliseconds(letter.DeadUnixMs),
        (int)letter.Attempts,
        letter.Reason);
}
