using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Broker.Topics;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>One node: its identity, its groups, the threads they live on and the streams to its peers.</summary>
public sealed partial class BrokerNode : IPeerSender, IAsyncDisposable
{
    private readonly NodeStore _store;
    private readonly List<GroupLog> _logs = [];
    private readonly List<ReplicaGroup> _groups = [];
    private readonly List<(GroupId Group, TopicStateMachine Machine)> _dataShards = [];
    private readonly LogWriter _writer;
    private readonly BackgroundWork _work;
    private readonly ThinningTurn _thinning = new();
    private readonly ReplicationLoop _loop;
    private readonly PeerTransport _transport;
    private readonly PeerGate _gate;
    private readonly ClusterFormation _formation;
    private readonly LeaderBalancer _balancer;
    private readonly QuorumWatch _quorum;
    private readonly OperatorRecovery _recovery;
    private readonly MembershipDriver _driver;
    private readonly Admission _admission;
    private readonly Departure _departure;
    private readonly HandOver _handOver;
    private readonly Announcer _announcer;
    private readonly ReadIndexes _readIndexes;
    private readonly TopicPolicyModule _policies;
    private ConsumerGroupModule? _consumerGroups;
    private readonly CancellationTokenSource _removed = new();
    private readonly TimeProvider _time;
    private readonly SegmentRepair _repair;
    private readonly Scrubber _scrubber;
    private readonly DiskReserve _disk;
    private readonly NodeTasks _tasks;
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private volatile string _removal = "";
    private bool _disposed;

    /// <param name="options">Who this node is and who the others are.</param>
    /// <param name="applied">Who hears of every batch that a shard commits.</param>
    /// <param name="metadataChanged">Who hears of every change of the cluster's metadata.</param>
    /// <param name="device">The disk.</param>
    /// <param name="time">The clock.</param>
    /// <param name="metrics">Where figures go.</param>
    /// <param name="loggers">Where words go.</param>
    /// <param name="onFatal">Ends the process: the disk or an invariant failed.</param>
    public BrokerNode(
        ClusterOptions options,
        Func<GroupId, IAppliedBatches> applied,
        Action<ClusterMetadata> metadataChanged,
        IStorageDevice device,
        TimeProvider time,
        BrokerMetrics metrics,
        ILoggerFactory loggers,
        Action<Exception> onFatal)
    {
        Options = options;
        Directory = new NodeDirectory(options);
        _time = time;
        _onFatal = onFatal;
        _logger = loggers.CreateLogger("Broker.Cluster");
        ClusterEvents.Starting(
            _logger,
            options.NodeName,
            options.NodeId.Value,
            options.Nodes.Count,
            options.DataDirectory,
            options.DataShards);
        _tasks = new NodeTasks(time, _logger, onFatal);
        _store = NodeStore.Open(
            device,
            options.DataDirectory,
            options.NodeName,
            options.NodeId,
            options.DataShards,
            Guid.NewGuid,
            options.Roles);
        Founders = options.Founders
            ?? [.. options.Nodes.Select(static node => new Founder(node.Node, NodeRoles.Both))];
        Shards = new ShardMap(options.DataShards);
        Metadata = new MetadataStateMachine(metadataChanged, Directory.Apply, MakeMetadataModules);
        _policies = Metadata.Module<TopicPolicyModule>();

        var replicationLogger = loggers.CreateLogger("Broker.Replication");
        var register = new PeerRegister(time);
        _gate = new PeerGate(options, _store, Metadata, register, Directory);
        _transport = new PeerTransport(
            options.NodeId, options.Nodes, _gate, options.TransferBytesPerSecond, metrics,
            loggers.CreateLogger("Broker.Transport"), time);
        Directory.OnChange(_transport.SetPeers);
        _writer = new LogWriter(metrics, replicationLogger, onFatal);
        _work = new BackgroundWork(replicationLogger, onFatal);
        for (var group = 0; group <= (options.HoldsTopics ? options.DataShards : 0); group++)
        {
            OpenGroup(new GroupId(group), applied, device, time, metrics, loggers);
        }

        AttachDuties();
        if (_store.IsFounded)
        {
            _store.AddKnownGroups(_groups.Select(static group => group.Id));
        }

        _admission = new Admission(this, _store, _logger);
        _departure = new Departure(this, time, _logger);
        _handOver = new HandOver(options.NodeId, _groups);
        _gate.Attach(_groups, _logs);
        _gate.Attach(_admission.RegisterAsync, ChangeMetadataForAsync);
        _loop = new ReplicationLoop(_groups, this, replicationLogger, onFatal);
        _formation = new ClusterFormation(this, _store, register, time, _logger);
        _balancer = new LeaderBalancer(options, Metadata, FoundersOf, _groups, _transport, time, _logger);
        _quorum = new QuorumWatch(options, Metadata, Directory, _groups, _transport, time, _logger);
        _recovery = new OperatorRecovery(options, Directory, _groups, _logs, _quorum, time, _logger);
        _driver = new MembershipDriver(this, _store, time, metrics, _logger);
        _announcer = new Announcer(this, time, _logger);
        _readIndexes = new ReadIndexes(this, time);
        _repair = MakeRepair(time);
        _scrubber = new Scrubber(() => _logs, new ScrubberOptions(), time, loggers.CreateLogger("Broker.Storage"));
        _disk = new DiskReserve(options, _groups, device, time, _logger);
        metrics.ObserveFreeDisk(() => _disk.FreeBytes);
        metrics.ObserveGroups(() => _groups.Select(group => Figures(group.Status) with
        {
            HasLostQuorum = QuorumLossOf(group.Id) is not null,
        }));
    }

    public ClusterOptions Options { get; }

    public ShardMap Shards { get; }

    public MetadataStateMachine Metadata { get; }

    /// <summary>How topics come to be, as this node has applied it. Any thread.</summary>
    internal TopicPolicies TopicPolicies => _policies.Current;

    /// <summary>The consumer groups, as this node has applied them. Any thread.</summary>
    internal ConsumerGroups ConsumerGroups => _consumerGroups!.Current;

    /// <summary>The groups of which this node has a replica: all, or of a dedicated controller the first.</summary>
    public IReadOnlyList<ReplicaGroup> Groups => _groups;

    /// <summary>The state machines of the data shards, by group; of a dedicated controller there are none.</summary>
    public IReadOnlyList<(GroupId Group, TopicStateMachine Machine)> DataShards => _dataShards;

    public Guid? ClusterId => _store.ClusterId;

    /// <summary>See <see cref="NodeStore.IsFounded"/>.</summary>
    internal bool IsFounded => _store.IsFounded;

    /// <summary>Why this node takes no part in a cluster yet, in words for its operator; empty when it does.</summary>
    public string Obstacle => _removal.Length > 0 ? _removal : _formation.Obstacle;

    /// <summary>The nodes that the groups began with. Known when this node takes part.</summary>
    internal IReadOnlyList<Founder> Founders { get; private set; }

    public ReplicaGroup Group(GroupId id) => _groups[id.Value];

    /// <summary>The state machine of the shard that holds a topic.</summary>
    public TopicStateMachine TopicsOf(GroupId group) => _dataShards[group.Value - 1].Machine;

    /// <summary>What the node does beside its groups, and has failed of late; in words, mostly nothing.</summary>
    public IReadOnlyList<string> FailingTasks => _tasks.Failing;

    /// <summary>
    /// Null: there is space on the disk for publishes. Else why this node takes none.
    /// </summary>
    public BrokerException? RefusalForSpace =>
        _disk.IsShort ? Refusal.ShortOfSpace(Options.NodeName, _disk.FreeBytes, Options.DiskReserveBytes) : null;

    /// <summary>That there is not much space left on the disk; empty when there is.</summary>
    public string DiskWarning => _disk.Warning;

    /// <summary>The streams to the other nodes, for the endpoint that accepts them.</summary>
    public PeerTransport Transport => _transport;

    /// <summary>The segments of a group that no replica can read.</summary>
    public int CountLostSegments(GroupId group) => _repair.CountLost(group);

    /// <summary>See <see cref="SegmentRepair.LostThrough"/>.</summary>
    public LogIndex LostThrough(GroupId group, LogIndex index) => _repair.LostThrough(group, index);

    /// <summary>Why no leader of a group can be elected; null when one can, as far as is known. Any thread.</summary>
    public QuorumLoss? QuorumLossOf(GroupId group) => _quorum.LossOf(group);

    /// <summary>See <see cref="OperatorRecovery.RunAsync"/>.</summary>
    public Task<RecoveryReport> ForceRecoveryAsync(RecoveryOrder order, CancellationToken cancellationToken) =>
        _recovery.RunAsync(order, cancellationToken);

    /// <summary>Whether a peer may talk to this node; otherwise the reason.</summary>
    internal bool Admits(PeerHello hello, out string reason) => _gate.Admits(hello, out reason);

    /// <summary>Who hears that there are other consumer groups, or other settings; must not block.</summary>
    internal Action? ConsumerGroupsChanged { get; set; }

    /// <summary>Does something on and on until the node stops; see <see cref="NodeTasks"/>.</summary>
    internal void StartTask(string name, Func<CancellationToken, Task> run) => _tasks.Start(name, run);

    public bool IsConnected(NodeId peer) => _transport.IsConnected(peer);

    public void Start()
    {
        _writer.Start();
        _work.Start();
        if (_store.IsFounded)
        {
            TakePart();
        }

        _transport.Start();
        _tasks.Start("formation of the cluster", _formation.RunAsync);
        _tasks.Start("membership of the groups", _driver.RunAsync);
        _tasks.Start("word of this node's address", _announcer.RunAsync);
        _tasks.Start("balance of leaders", _balancer.RunAsync);
        _tasks.Start("watch over lost quorums", _quorum.RunAsync);
        _tasks.Start("repair of segments", _repair.RunAsync);
        _tasks.Start("watch over the disk's space", _disk.RunAsync);
        _tasks.Start("check of files at rest", _scrubber.RunAsync);
    }

    /// <summary>
    /// This node is one of those that a new cluster begins with. A disk has the same roles as long as it is one, so all
    /// founders begin each group with the same voters.
    /// </summary>
    internal void Found(IReadOnlyDictionary<NodeId, Guid> peers, IReadOnlyList<Founder> founders)
    {
        _store.Found(_groups.Select(static group => group.Id), peers, founders);
        Founders = founders;
        _groups.ForEach(group => group.BeginWith(
            FoundersOf(group.Id), LeaderBalancer.ByTurns(FoundersOf(group.Id), group.Id)));
        TakePart();
    }

    /// <summary>Those that a group began with.</summary>
    internal IReadOnlyList<NodeId> FoundersOf(GroupId group) =>
        [.. Founders.Where(founder => founder.Roles.VoteIn(group)).Select(static founder => founder.Node)];

    /// <summary>
    /// This node's disk is empty, and its cluster is there: it takes part as one that has lost what it may have
    /// promised. That is durable in every group before the disk counts as one of the cluster's.
    /// </summary>
    internal void Join(Guid clusterId)
    {
        _groups.ForEach(static group => group.BeginAsLost());
        _store.AddKnownGroups(_groups.Select(static group => group.Id));
        _store.SetClusterId(clusterId);
        TakePart();
    }

    /// <summary>
    /// A room above has met what cannot be: the process ends, and its peers go on. Going on here could leave callers
    /// without an answer for ever.
    /// </summary>
    public void Fail(Exception failure) => _onFatal(failure);

    /// <summary>Takes leave of the peers; the node serves what is local until it is disposed of.</summary>
    public void BeginStop() => _transport.CloseStreams();

    void IPeerSender.Send(NodeId to, PeerMessage message) => _transport.Send(to, message);

    void IPeerSender.Flush() => _transport.Flush();

    void IPeerSender.SendSnapshot(
        NodeId to, GroupId group, PeerMessage message, ReadOnlyMemory<byte> data, Action<bool> done) =>
        _transport.SendSnapshot(to, group, message, data, done);

    TimeSpan IPeerSender.ChargeCopy(long bytes) => _transport.ChargeCopy(bytes);

    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        await _tasks.DisposeAsync();
        await _transport.DisposeAsync();

        // A stream may have ended within a turn, on the thread that sent the last of it: that one must not wait for the
        // loop, which waits for the turn.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        _loop.Dispose();
        if (_work.Stop() & _writer.Stop())
        {
            _logs.ForEach(static log => log.Dispose());
        }
        else
        {
            // They are in use still. What a log says at its end only makes the next start surer of it.
            ClusterEvents.DiskHangs(_logger);
        }

        _store.Dispose();
        _removed.Dispose();
    }

    private void TakePart()
    {
        _gate.Open();
        _loop.Start();
    }

    private static GroupFigures Figures(GroupStatus status) => new(
        status.Group.Value,
        status.Term.Value,
        status.Leader.Value,
        (int)status.Role,
        status.CommitIndex.Value,
        status.AppliedIndex.Value,
        status.LastIndex.Value,
        status.Condition.BaseIndex.Value,
        status.Condition.SnapshotIndex.Value,
        status.Condition.DamagedSegments,
        status.Condition.IsFenced,
        status.Condition.IsLost || status.Condition.IsPassive,
        status.Condition.IsDiskFull,
        status.Condition.IsWriteStalled || status.Condition.IsBackgroundStalled,
        status.Condition.IsApplyBlocked,
        status.Condition.IsBehind,
        status.Condition.IsStuck,
        HollowSegments: status.Condition.HollowSegments);
}
