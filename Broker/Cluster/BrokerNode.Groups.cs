using Broker.ClusterState;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.State;
using Broker.Storage;
using Broker.Topics;

namespace Broker.Cluster;

/// <summary>Opening the groups, and what the rooms above ask of them.</summary>
public sealed partial class BrokerNode
{
    /// <summary>
    /// How long a request waits for an election before it is refused: longer than a usual fail-over, shorter than a
    /// deadline.
    /// </summary>
    private static readonly TimeSpan LeaderWait = TimeSpan.FromSeconds(2);

    /// <summary>
    /// What an idle cluster costs is mostly heartbeats, so they are as rare as may be: two in the shortest election
    /// timeout. A leader that dies is noticed by its broken connection, whatever stands here.
    /// </summary>
    internal static readonly TimeSpan HeartbeatInterval = TimeSpan.FromMilliseconds(350);

    /// <summary>
    /// A leader may pause for 350 ms between two heartbeats before a follower asks the others whether they hear it. The
    /// longest timeout is Raft's default, so one that hangs is replaced within a second as ever.
    /// </summary>
    internal static readonly TimeSpan ElectionTimeoutMin = 2 * HeartbeatInterval;

    /// <summary>Commits a change of the cluster's metadata. This node must lead the metadata group.</summary>
    public Task<CommandResult> ProposeMetadataAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken) =>
        ProposeAsync(GroupId.Metadata, command, cancellationToken);

    /// <summary>Commits a command in a group that this node leads.</summary>
    public async Task<CommandResult> ProposeAsync(
        GroupId group, ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        var proposal = new EncodedProposal(command);
        Group(group).Propose(proposal);
        return await proposal.Done.WaitAsync(cancellationToken);
    }

    /// <summary>
    /// Has the own replica of a group miss nothing that was acknowledged when this was called; see <see
    /// cref="ReadIndexes"/>.
    /// </summary>
    public Task CatchUpAsync(GroupId group, CancellationToken cancellationToken) =>
        _readIndexes.CatchUpAsync(group, cancellationToken);

    /// <summary>The node that leads a group; waits through an election, then refuses.</summary>
    public async Task<NodeId> WaitForLeaderAsync(GroupId id, CancellationToken cancellationToken)
    {
        var group = Group(id);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(LeaderWait);
        while (true)
        {
            var status = group.Status;
            if (!status.Leader.IsNone)
            {
                return status.Leader;
            }

            if (QuorumLossOf(id) is { } loss)
            {
                throw Refusal.QuorumLost(loss.What);
            }

            try
            {
                await group.WaitForChangeAsync(status, patience.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw Obstacle.Length > 0 ? Refusal.NotFormed(Obstacle)
                    : group.Status.Condition.IsDiskFull ? Refusal.CannotWrite(id, isFull: true)
                    : Refusal.NoLeader(id);
            }
        }
    }

    private void OpenGroup(
        GroupId id,
        Func<GroupId, IAppliedBatches> applied,
        IStorageDevice device,
        TimeProvider time,
        BrokerMetrics metrics,
        ILoggerFactory loggers)
    {
        var folder = Path.Combine(Options.DataDirectory, $"group-{id.Value:D4}");
        var storage = new StorageOptions
        {
            SegmentBytes = Options.SegmentBytes,
            FirstSegmentBytes = Math.Min(Options.SegmentBytes, new StorageOptions().FirstSegmentBytes),
        };
        var log = GroupLog.Open(
            device,
            folder,
            id,
            _store.StoreId,
            storage,
            loggers.CreateLogger("Broker.Storage"),
            _store.IsKnownGroup(id));
        _logs.Add(log);
        var lastTerm = log.TermRuns.Count == 0 ? log.Base.Term : log.TermRuns[^1].Term;
        ClusterEvents.Recovered(_logger, id.Value, log.LastIndex - log.Base.Index, lastTerm.Value);
        var options = new RaftOptions
        {
            Id = Options.NodeId,
            Voters = FoundersOf(id),
            HeartbeatInterval = HeartbeatInterval,
            ElectionTimeoutMin = ElectionTimeoutMin,
            CommitNoticeDelay = TimeSpan.FromMilliseconds(Limits.CommitNoticeMs),
            PreferredLeader = LeaderBalancer.ByTurns(FoundersOf(id), id),
        };
        IStateMachine machine = Metadata;
        if (id != GroupId.Metadata)
        {
            var topics = new TopicStateMachine(
                applied(id), new TopicBounds(), static each => [new GroupProgressModule(each, new GroupBounds())]);
            topics.AttachIndexes(log.Indexes.TryReadBody);
            _dataShards.Add((id, topics));
            machine = topics;
        }

        var group = new ReplicaGroup(
            id,
            options,
            log,
            machine,
            _writer,
            this,
            _work,
            time,
            new Random(),
            metrics,
            loggers.CreateLogger("Broker.Replication"),
            _thinning);
        _groups.Add(group);
    }

    /// <summary>
    /// What the metadata group has beside the cluster and its members. The first ones are the machine's, later ones
    /// those of its shadows, of which nobody hears.
    /// </summary>
    private StateModule[] MakeMetadataModules()
    {
        var groups = new ConsumerGroupModule(_consumerGroups is null ? _ => OnConsumerGroups() : null);
        _consumerGroups ??= groups;
        return [new TopicPolicyModule(), groups];
    }

    /// <summary>
    /// A topic's partitions lie in several shards, and a consumer group is known to all of them: their leaders see to
    /// it that they are there.
    /// </summary>
    private void AttachDuties()
    {
        foreach (var (group, machine) in _dataShards)
        {
            machine.AttachPartitionDuties(group, Shards, TopicsOf, LookForDuties);
            var progress = machine.Module<GroupProgressModule>();
            var replica = Group(group);
            progress.AttachDuties(new GroupDuties(() => ConsumerGroups, progress, search => _work.Run(replica, () =>
            {
                search();
                replica.LookForDuties();
            })));
        }
    }

    private void OnConsumerGroups()
    {
        LookForDuties();
        ConsumerGroupsChanged?.Invoke();
    }

    private void LookForDuties() => _groups.ForEach(static each => each.LookForDuties());

    private SegmentRepair MakeRepair(TimeProvider time) => new(
        [.. _logs.Zip(_groups).Select(pair =>
            new GroupRepair(pair.Second, pair.First, new GroupEntries(pair.First, pair.Second)))],
        () => [.. Directory.Nodes.Select(static node => node.Node).Where(node => node != Options.NodeId)],
        _transport.FetchEntriesAsync,
        time,
        Random.Shared,
        _logger);
}
