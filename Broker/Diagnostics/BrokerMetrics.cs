using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Broker.Domain;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.Diagnostics;

/// <summary>
/// Every figure that a node gives out, as meter "Broker.Node". The rooms call these methods; nothing else of the broker
/// knows what a meter is. A call is a few nanoseconds when nobody listens and allocates nothing.
/// </summary>
public sealed class BrokerMetrics : IDisposable
{
    public const string MeterName = "Broker.Node";

    /// <summary>
    /// 50 µs to 10 s: a flush on a good disk takes 0.1 ms and a commit 0.2 ms, which OpenTelemetry's default buckets
    /// (from 5 ms) would throw together; an election's pause is near the other end.
    /// </summary>
    private static readonly InstrumentAdvice<double> DurationBuckets = new()
    {
        HistogramBucketBoundaries =
        [
            0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
        ],
    };

    private static readonly FrozenDictionary<RefusalCode, Tag> CodeTags = Enum.GetValues<RefusalCode>()
        .ToFrozenDictionary(code => code, code => new Tag("code", code.ToString()));

    private readonly Meter _meter;
    private readonly Sum _publishedMessages;
    private readonly Sum _publishedBytes;
    private readonly Sum _queueLength = new();
    private readonly Histogram<double> _commitDuration;
    private readonly Counter<long> _elections;
    private readonly Histogram<double> _flushDuration;
    private readonly Sum _flushedBytes;
    private readonly Sum _flushes;
    private readonly Sum _sentBytes;
    private readonly Sum _receivedBytes;
    private readonly Counter<long> _droppedPeerMessages;
    private readonly Counter<long> _reconnects;
    private readonly Sum _readMessages;
    private readonly Sum _readBytes;
    private readonly Counter<long> _refused;
    private readonly Counter<long> _evicted;
    private Func<IEnumerable<GroupFigures>>? _groups;
    private Func<LiveFigures>? _live;

    /// <summary>
    /// With a factory the meter belongs to its host; without one (simulations, unit tests) it stands alone.
    /// </summary>
    public BrokerMetrics(IMeterFactory? factory = null)
    {
        _meter = factory?.Create(MeterName) ?? new Meter(MeterName);
        _publishedMessages = Summed(
            "broker.topics.published.messages", "{message}", "Messages that were given an offset");
        _publishedBytes = Summed(
            "broker.topics.published.bytes", "By", "Bytes of the batches that were given offsets");
        _meter.CreateObservableUpDownCounter(
            "broker.replication.queue.length",
            () => _queueLength.Value,
            "{request}",
            "Requests that wait to be put into a log entry");
        _commitDuration = Duration(
            "broker.replication.commit.duration", "From proposing an entry to having applied it");
        _elections = Counter("broker.consensus.elections", "{election}", "Elections that this node won");
        _flushDuration = Duration("broker.storage.flush.duration", "One write and flush of the log");
        _flushedBytes = Summed("broker.storage.flushed.bytes", "By", "Bytes of the log that were written and flushed");
        _flushes = Summed("broker.storage.flushes", "{flush}", "Flushes of the log");
        _sentBytes = Summed("broker.transport.sent.bytes", "By", "Bytes of messages sent to peers");
        _receivedBytes = Summed("broker.transport.received.bytes", "By", "Bytes of messages received from peers");
        _droppedPeerMessages = Counter(
            "broker.transport.dropped.messages", "{message}", "Messages to peers that found their queue full");
        _reconnects = Counter(
            "broker.transport.reconnects", "{connection}", "Connections to a peer that were opened anew");
        _meter.CreateObservableCounter(
            "broker.delivery.live.published",
            () => Live().PublishedBatches,
            "{batch}",
            "Batches put on the live plane");
        _meter.CreateObservableCounter(
            "broker.delivery.live.dropped",
            () => Live().DroppedBatches,
            "{batch}",
            "Batches that the live plane did not take");
        _readMessages = Summed("broker.delivery.read.messages", "{message}", "Messages sent to readers");
        _readBytes = Summed("broker.delivery.read.bytes", "By", "Bytes of the batches sent to readers");
        _evicted = Counter(
            "broker.cluster.evictions", "{node}", "Members that this node, as leader of the metadata, began to evict");
        _refused = Counter("broker.api.refused", "{request}", "Requests that were refused, by code");
        Observe("broker.consensus.term", "{term}", "Raft term of a group", group => group.Term);
        Observe("broker.consensus.leader", "{node}", "Number of the node that leads a group; 0: unknown", group =>
            group.Leader);
        Observe("broker.consensus.role", "{role}", "This node's role in a group, as a number", group => group.Role);
        Observe(
            "broker.consensus.commit.index", "{entry}", "Last committed entry of a group", group => group.CommitIndex);
        Observe(
            "broker.consensus.applied.index", "{entry}", "Last applied entry of a group", group => group.AppliedIndex);
        Observe("broker.consensus.last.index", "{entry}", "Last entry of a group's log", group => group.LastIndex);
        Observe(
            "broker.storage.base.index", "{entry}", "The log of a group begins after this entry", group =>
            group.BaseIndex);
        Observe(
            "broker.storage.snapshot.index", "{entry}", "Newest snapshot of a group on disk; 0: none", group =>
            group.SnapshotIndex);
        Observe(
            "broker.storage.damaged.segments", "{segment}", "Segments that wait for repair from a peer", group =>
            group.DamagedSegments);
        Observe(
            "broker.storage.hollow.segments",
            "{segment}",
            "Segments whose records other nodes keep, or that are on their way back from them",
            group => group.HollowSegments);
        ObserveTrouble("broker.consensus.fenced", "may not lead, because the end of its log was damaged", group =>
            group.IsFenced);
        ObserveTrouble(
            "broker.consensus.lost", "which lost its log or its votes, is not a full member again", group =>
                group.IsLost);
        ObserveTrouble("broker.consensus.behind", "does not catch up with its leader", group => group.IsBehind);
        ObserveTrouble("broker.consensus.stuck", "leads and refuses publishes, as too few nodes can write", group =>
            group.IsStuck);
        ObserveTrouble("broker.consensus.quorum_lost", "is of a group that cannot elect a leader", group =>
            group.HasLostQuorum);
        ObserveTrouble("broker.storage.full", "finds the disk full", group => group.IsDiskFull);
        ObserveTrouble("broker.storage.stalled", "waits for a disk that does not answer", group => group.IsDiskStalled);
        ConsumerGroups = new ConsumerGroupMetrics(_meter);
        ObserveTrouble("broker.replication.blocked", "cannot read the next entry to apply", group =>
            group.IsApplyBlocked);
    }

    /// <summary>Those of consumer groups.</summary>
    public ConsumerGroupMetrics ConsumerGroups { get; }

    /// <summary>A publish that this node led was given its offsets.</summary>
    public void Published(int messages, long bytes)
    {
        _publishedMessages.Add(messages);
        _publishedBytes.Add(bytes);
    }

    public void Queued(int requests) => _queueLength.Add(requests);

    public void Dequeued(int requests) => _queueLength.Add(-requests);

    /// <summary>An entry that this node proposed was applied.</summary>
    public void Committed(TimeSpan fromProposeToApplied) => _commitDuration.Record(fromProposeToApplied.TotalSeconds);

    public void BecameLeader() => _elections.Add(1);

    public void Flushed(long bytes, TimeSpan duration)
    {
        _flushes.Add(1);
        _flushedBytes.Add(bytes);
        _flushDuration.Record(duration.TotalSeconds);
    }

    public void PeerBytesSent(long bytes) => _sentBytes.Add(bytes);

    public void PeerBytesReceived(long bytes) => _receivedBytes.Add(bytes);

    /// <summary>A peer's queue was full; Raft sends again.</summary>
    public void PeerMessageDropped() => _droppedPeerMessages.Add(1);

    public void PeerRedialed() => _reconnects.Add(1);

    public void Read(int messages, long bytes)
    {
        _readMessages.Add(messages);
        _readBytes.Add(bytes);
    }

    public void MemberEvicted() => _evicted.Add(1);

    public void Refused(RefusalCode code) => _refused.Add(1, CodeTags[code]);

    /// <summary>
    /// Says where the groups' figures come from. Called at each scrape, from any thread; a later call replaces it.
    /// </summary>
    public void ObserveGroups(Func<IEnumerable<GroupFigures>> groups) => Volatile.Write(ref _groups, groups);

    /// <summary>Says where the free space of the disk is known.</summary>
    public void ObserveFreeDisk(Func<long> freeBytes) => _meter.CreateObservableGauge(
        "broker.storage.free", freeBytes, "By", "Free bytes of the disk that holds the logs");

    /// <summary>Says where the live plane's figures come from; without a live plane they stay 0.</summary>
    public void ObserveLive(Func<LiveFigures> live) => Volatile.Write(ref _live, live);

    public void Dispose() => _meter.Dispose();

    private LiveFigures Live() => Volatile.Read(ref _live)?.Invoke() ?? default;

    private Counter<long> Counter(string name, string unit, string description) =>
        _meter.CreateCounter<long>(name, unit, description);

    private Sum Summed(string name, string unit, string description)
    {
        var sum = new Sum();
        _meter.CreateObservableCounter(name, () => sum.Value, unit, description);
        return sum;
    }

    private Histogram<double> Duration(string name, string description) =>
        _meter.CreateHistogram(name, "s", description, tags: null, DurationBuckets);

    private void ObserveTrouble(string name, string what, Func<GroupFigures, bool> holds) =>
        Observe(name, "{replica}", $"1 while this replica {what}", group => holds(group) ? 1 : 0);

    private void Observe(string name, string unit, string description, Func<GroupFigures, long> figure) =>
        _meter.CreateObservableGauge(
            name,
            () => (Volatile.Read(ref _groups)?.Invoke() ?? [])
                .Select(group => new Measurement<long>(figure(group), new Tag("group", group.Group))),
            unit,
            description);

    /// <summary>
    /// A counter of what happens with every message: asked for when somebody looks. To tell a listener each time
    /// would cost a hundred times as much, a dozen times a publish.
    /// </summary>
    private sealed class Sum
    {
        private long _value;

        public long Value => Volatile.Read(ref _value);

        public void Add(long by) => Interlocked.Add(ref _value, by);
    }
}
