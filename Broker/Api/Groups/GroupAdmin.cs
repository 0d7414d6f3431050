using System.Buffers;
using Broker.Client;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using GroupMode = Broker.Protocol.V1.GroupMode;

namespace Broker.Api;

/// <summary>
/// What operators do with consumer groups. Which there are says the metadata group; how far they are, the shards'
/// leaders.
/// </summary>
internal sealed class GroupAdmin(
    BrokerNode node, AdminForwarder forwarder, GroupRegistry registry, IConsumerGroups groups, TimeProvider time)
{
    /// <summary>Groups of a page whose figures are asked for at a time.</summary>
    private const int ReportsAtOnce = 8;

    public async Task<bool> ExistsAsync(string group, CancellationToken cancellationToken) =>
        await registry.FindLatestAsync(group, cancellationToken) is not null;

    public async Task<CreateGroupResponse> CreateAsync(
        CreateGroupRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(request.Name);
        var (settings, start) = GroupConfigs.ReadNew(request.Config);
        var command = new ArrayBufferWriter<byte>();
        ConsumerGroupCommands.WriteCreate(command, request.Name, settings, start);
        var response = await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.CreateGroupAsync(message, options),
            request,
            result => Made(result, request.Name, settings, start),
            isForwarded,
            cancellationToken);
        await registry.WaitUntilOpenAsync(request.Name, cancellationToken);
        return response;
    }

    /// <summary>The answer to who makes a group.</summary>
    public static CreateGroupResponse Made(
        in CommandResult result, string name, ConsumerGroupSettings settings, GroupStart start) => result.Code switch
        {
            RefusalCode.None => new CreateGroupResponse
            {
                Config = GroupConfigs.Write(new ConsumerGroup((int)result.BaseOffset, name, settings, start)),
            },
            RefusalCode.AlreadyExists => throw Refusal.AlreadyExists(
                $"There is a consumer group '{name}' with another configuration. Nothing was changed; UpdateGroup "
                + "changes it, DescribeGroup shows it."),
            RefusalCode.ResourceExhausted => throw Refusal.Exhausted(
                $"The cluster has {Limits.ConsumerGroups:N0} consumer groups already. Delete one that nobody uses."),
            _ => throw Refusal.InvalidArgument($"Consumer group '{name}' cannot be as the request says."),
        };

    public async Task<UpdateGroupResponse> UpdateAsync(
        UpdateGroupRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(request.Name);
        var (settings, parts) = GroupConfigs.ReadChange(request.Config);
        if (GroupConfigs.ReadMode((int)(request.Config?.Mode ?? 0)) is { } mode
            && (await registry.FindAsync(request.Name, cancellationToken)).Settings.Mode != mode)
        {
            throw Refusal.InvalidArgument(
                $"config.mode is {mode}, which consumer group '{request.Name}' has not; a group's mode never changes. "
                + "Nothing was changed.");
        }

        if (settings.Order != ConsumerGroupOrder.Offset)
        {
            var known = (await registry.FindAsync(request.Name, cancellationToken)).Settings;
            GroupConfigs.CheckOrder(settings with { Mode = known.Mode });
        }

        var command = new ArrayBufferWriter<byte>();
        ConsumerGroupCommands.WriteUpdate(command, request.Name, parts, settings);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.UpdateGroupAsync(message, options),
            request,
            result => result.Code == RefusalCode.None && node.ConsumerGroups.Find((int)result.BaseOffset) is { } group
                ? new UpdateGroupResponse { Config = GroupConfigs.Write(group) }
                : throw Refusal.NoSuchGroup(request.Name),
            isForwarded,
            cancellationToken);
    }

    public async Task<ListGroupsResponse> ListAsync(ListGroupsRequest request, CancellationToken cancellationToken)
    {
        var size = request.PageSize == 0 ? Limits.GroupsPerPage : (int)Math.Min(request.PageSize, Limits.GroupsPerPage);
        var found = node.ConsumerGroups.ByName.Values
            .Where(group => group.Name.StartsWith(request.Prefix, StringComparison.Ordinal)
                && string.CompareOrdinal(group.Name, request.PageToken) > 0)
            .Take(size + 1)
            .ToList();
        var page = found.Take(size).ToList();
        var summaries = page.Select(Summary).ToArray();
        if (request.Figures)
        {
            var parallel = new ParallelOptions
            {
                MaxDegreeOfParallelism = ReportsAtOnce,
                CancellationToken = cancellationToken,
            };
            await Parallel.ForAsync(0, page.Count, parallel, async (at, stop) =>
                Fill(summaries[at], await groups.ReportAsync(page[at], stop)));
        }

        return new ListGroupsResponse
        {
            Groups = { summaries },
            NextPageToken = found.Count > size ? page[^1].Name : "",
        };
    }

    public async Task<DescribeGroupResponse> DescribeAsync(
        DescribeGroupRequest request, CancellationToken cancellationToken)
    {
        var group = await registry.FindAsync(request.Name, cancellationToken);
        var report = await groups.ReportAsync(group, cancellationToken);
        var response = new DescribeGroupResponse { Group = Summary(group), Config = GroupConfigs.Write(group) };
        Fill(response.Group, report);
        response.Consumers.AddRange(report.Consumers.Select(static consumer => new ConsumerDescription
        {
            Name = consumer.Name,
            NodeId = (uint)consumer.Node,
            Session = (ulong)consumer.Session,
            Outstanding = (uint)consumer.Out,
            CreditRecords = (uint)consumer.Credit,
            Served = consumer.IsServed,
        }));
        response.Progress.AddRange(report.Places.Select(ToProgress));
        return response;
    }

    public async Task<DeleteGroupResponse> DeleteAsync(
        DeleteGroupRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(request.Name);
        var command = new ArrayBufferWriter<byte>();
        ConsumerGroupCommands.WriteDelete(command, request.Name);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.DeleteGroupAsync(message, options),
            request,
            result => result.Code == RefusalCode.None
                ? new DeleteGroupResponse()
                : throw Refusal.NoSuchGroup(request.Name),
            isForwarded,
            cancellationToken);
    }

    public async Task<SeekGroupResponse> SeekAsync(SeekGroupRequest request, CancellationToken cancellationToken)
    {
        var target = ReadTarget(request);
        var group = await registry.FindAsync(request.Name, cancellationToken);
        var places = await groups.SeekAsync(
            group, request.Topic, (int?)request.Partition, target, cancellationToken);
        return new SeekGroupResponse { Progress = { places.Select(ToProgress) } };
    }

    private GroupSeek ReadTarget(SeekGroupRequest request)
    {
        if (request.Topic.Length > 0 && !TopicName.Validate(request.Topic, out var reason))
        {
            throw Refusal.InvalidArgument(reason);
        }

        if (request.Topic.Length == 0 && request.Partition is not null)
        {
            throw Refusal.InvalidArgument("partition is set without the topic that it belongs to.");
        }

        if (request.Partition >= Limits.PartitionsPerTopic)
        {
            throw Refusal.InvalidArgument(
                $"partition is {request.Partition}; a topic has at most {Limits.PartitionsPerTopic:N0}.");
        }

        return request.TargetCase switch
        {
            SeekGroupRequest.TargetOneofCase.Offset => new GroupSeek(ReadOffset(request), null, IsEnd: false),
            SeekGroupRequest.TargetOneofCase.TimeUnixMs when request.TimeUnixMs < 0 => throw Refusal.InvalidArgument(
                $"time_unix_ms is {request.TimeUnixMs}; a time is in milliseconds since 1970 and not negative."),
            SeekGroupRequest.TargetOneofCase.TimeUnixMs => new GroupSeek(null, request.TimeUnixMs, IsEnd: false),
            SeekGroupRequest.TargetOneofCase.Position => request.Position switch
            {
                StartPosition.Beginning => new GroupSeek(null, null, IsEnd: false),
                StartPosition.End => new GroupSeek(null, null, IsEnd: true),
                _ => throw Refusal.InvalidArgument("A group goes to BEGINNING, to END, to a time or to an offset."),
            },
            _ => throw Refusal.InvalidArgument(
                "The request does not say where to go; set offset, position or time_unix_ms."),
        };
    }

    private long ReadOffset(SeekGroupRequest request)
    {
        if (request.Offset < 0)
        {
            throw Refusal.InvalidArgument($"Offset {request.Offset} is negative; offsets begin at 0.");
        }

        if (request.Topic.Length == 0)
        {
            throw Refusal.InvalidArgument("offset is set without the topic that it counts in.");
        }

        var topics = node.TopicsOf(node.Shards.GroupOf(request.Topic));
        return request.Partition is not null || !topics.TryGetTopic(request.Topic, out var topic)
            || topic.Partitions == 1
            ? request.Offset
            : throw Refusal.InvalidArgument(
                $"offset is set, and topic '{request.Topic}' has {topic.Partitions} partitions with offsets of their "
                + "own; name the partition, too.");
    }

    private static GroupSummary Summary(ConsumerGroup group) => new()
    {
        Name = group.Name,
        Mode = (GroupMode)group.Settings.Mode,
        Paused = group.Settings.IsPaused,
    };

    private static void Fill(GroupSummary summary, GroupReport report)
    {
        summary.Consumers = (uint)report.Consumers.Count;
        summary.LagRecords = report.Places.Sum(static place => place.Lag);
        summary.DeadLetters = report.DeadLetters;
    }

    private GroupProgress ToProgress(PlaceReport place) => new()
    {
        Topic = place.Topic,
        Partition = (uint)place.Partition,
        AckFloor = place.Floor,
        NextOffset = place.Next,
        LagRecords = place.Lag,
        LagMs = place.OldestUnixMs == 0
            ? 0
            : Math.Max(1, time.GetUtcNow().ToUnixTimeMilliseconds() - place.OldestUnixMs),
        Outstanding = (uint)place.Out,
        Waiting = (uint)place.Waiting,
        Redeliveries = (ulong)place.Redeliveries,
        Expired = (ulong)place.Expired,
    };
}
