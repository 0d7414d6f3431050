using System.Buffers;
using System.Buffers.Binary;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.State;
using Broker.Storage;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>The real state machine of a data shard, with every step reported to the history.</summary>
internal sealed class RecordingMachine : IStateMachine, IAppliedBatches
{
    private readonly History _history;
    private readonly GroupHistory? _groupHistory;
    private readonly ReplicaNode _node;
    private readonly TopicStateMachine _topics;
    private readonly SimulatedMembership? _membership;
    private MemberModule? _members;
    private TopicPolicyModule? _policies;
    private ConsumerGroupModule? _consumerGroups;

    public RecordingMachine(SimulatedGroup group, ReplicaNode node)
    {
        _history = group.History;
        _groupHistory = group.GroupHistory;
        _node = node;
        _membership = group.Id.Value == 1 ? group.World.Membership : null;
        var bounds = new TopicBounds
        {
            ProducersPerTopic = Crowd.MostProducers,
            ProducerExpiryMs = group.World.Scenario.ProducerExpiryMs,
        };

        _topics = new TopicStateMachine(this, bounds, topics => MakeModules(group, topics));
    }

    /// <summary>How far consumer groups are; null: there are none.</summary>
    public GroupProgressModule? Progress { get; private set; }

    public ConsumerGroups ConsumerGroups => _consumerGroups?.Current ?? ConsumerGroups.Empty;

    public ClusterMembers Members => _members?.Current ?? ClusterMembers.Empty;

    public TopicPolicies Policies => _policies?.Current ?? TopicPolicies.Default;

    public ulong StateHash => _topics.StateHash;

    public long LastTimestampUnixMs => _topics.LastTimestampUnixMs;

    public bool IsAwaited => _node.IsAwaited;

    public bool KeepsIndexes => _topics.KeepsIndexes;

    public LogIndex FirstNeeded => _topics.FirstNeeded;

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        _node.NoteApplied(entry.Index);
        var before = Owned;
        var compacted = Keyed;
        var mayGo = MayRemoveTopics(entry) ? PlacesOfOwners() : [];
        var all = results.IsEmpty ? new CommandResult[entry.Count] : results;
        _topics.Apply(entry, all);
        CheckDelays(entry, all);
        _history.CheckState(_node, entry.Index, StateHash);
        if (Progress is { } progress)
        {
            _groupHistory!.CheckApplied(_node, entry, progress);
        }

        _membership?.Note(_node, Members, entry.Index);
        CheckKept(entry, before);
        CheckPairs();
        CheckCompacted(entry, compacted);
        foreach (var gone in mayGo.Except(mayGo.Count > 0 ? PlacesOfOwners() : []))
        {
            _history.NoteFirst(gone, long.MaxValue);
        }

        foreach (var topic in Holds(entry, CommandKind.PurgeTopic) || Holds(entry, CommandKind.TrimTopic)
            ? _topics.ListTopics() : [])
        {
            _history.NoteFirst(NameOf(topic), topic.FirstOffset);
        }
    }

    /// <summary>What became due, and that no row is left of what is gone.</summary>
    private void CheckDelays(LogEntry entry, ReadOnlySpan<CommandResult> results)
    {
        if (Progress is not { Topics: { Delays.IsEmpty: false } topics })
        {
            return;
        }

        var ordinal = 0;
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (command.Kind == CommandKind.DelayDue)
            {
                var into = topics.Delays.Find(DelayCommands.ReadDue(command).Topic)?.DueTopic ?? -1;
                _groupHistory!.CheckDue(_node, entry, command, results[ordinal], into);
            }

            ordinal++;
        }

        foreach (var topic in topics.Numbered)
        {
            World.Check(
                topics.Delays.Find(topic.Number) is not { Rows: { Count: > 0 } rows }
                    || (rows.Min.Offset >= topic.Parts.FirstOffset && rows.Max.Offset < topic.Parts.Memory.NextOffset),
                $"node {_node.Id} has delayed records of {topic.Name} that it does not keep");
        }
    }

    /// <summary>For consumers of the replica.</summary>
    public TopicStateMachine Topics => _topics;

    /// <summary>Offsets begin anew with every topic that has a name of the owners'.</summary>
    public string NameOf(TopicView topic) => NameOf(topic.Name, topic.Number);

    private static bool MayRemoveTopics(LogEntry entry) =>
        Holds(entry, CommandKind.DeleteTopic) || Holds(entry, CommandKind.RemovePartitions)
        || Holds(entry, CommandKind.MakePartitions);

    /// <summary>The topics that come and go, and their partitions, by the names that tell them apart.</summary>
    private List<string> PlacesOfOwners() =>
        [.. _topics.ListPlaces().Where(static place => IsOfOwners(place.Name)).Select(NameOf)];

    private static bool IsOfOwners(string name) =>
        name is TopicOwner.Topic or KeyOwner.Topic || PartitionName.Parse(name).Topic == PartitionOwner.Topic;

    private static string NameOf(string topic, int number) =>
        IsOfOwners(topic) ? $"{topic}#{number}" : topic;

    private static bool Holds(LogEntry entry, CommandKind kind)
    {
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (command.Kind == kind)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether the owner's topic holds no more than it keeps.</summary>
    public bool IsTrimmed => Owned is not { } owned
        || owned.Settings.MaxRecords == 0 || owned.Next - owned.First <= owned.Settings.MaxRecords;

    public long NextDutyUnixMs => _topics.NextDutyUnixMs;

    public bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command) => _topics.TryWriteDuty(nowUnixMs, command);

    private (int Number, long First, long Next, TopicSettings Settings)? Owned =>
        _topics.TryGetTopic(TopicOwner.Topic, out var topic)
            ? (topic.Number, topic.FirstOffset, topic.NextOffset, topic.Settings)
            : null;

    /// <summary>What is published together to two topics is stored in both, or in none.</summary>
    private void CheckPairs()
    {
        var left = _topics.TryGetTopic(AtomicOwner.Left, out var one) ? one.NextOffset : 0;
        var right = _topics.TryGetTopic(AtomicOwner.Right, out var other) ? other.NextOffset : 0;
        World.Check(
            left == right,
            $"node {_node.Id} has {left} records of one topic and {right} of the other, which are stored together");
    }

    /// <summary>
    /// But for a purge, a topic loses only what its settings of this moment do not keep; that is not known when an
    /// entry changes them, too.
    /// </summary>
    private void CheckKept(LogEntry entry, (int Number, long First, long Next, TopicSettings Settings)? before)
    {
        if (Owned is not { } now || before?.Number != now.Number || before.Value.First == now.First)
        {
            return;
        }

        foreach (var command in new CommandSequence(entry.Body))
        {
            if (command.Kind is CommandKind.PurgeTopic or CommandKind.UpdateTopic)
            {
                return;
            }
        }

        World.Check(
            now.Settings.MaxRecords > 0 && now.Next - now.First >= now.Settings.MaxRecords,
            $"node {_node.Id} keeps {now.Next - now.First} records of a topic with {now.Settings}");
    }

    private TopicView? Keyed => _topics.TryGetTopic(KeyOwner.Topic, out var topic) ? topic : null;

    /// <summary>
    /// A topic is compacted by its settings of this moment: what is younger is left alone, and so is a delete marker.
    /// </summary>
    private void CheckCompacted(LogEntry entry, TopicView? before)
    {
        if (!Holds(entry, CommandKind.CompactTopic) || Keyed is not { } now || before?.Number != now.Number)
        {
            return;
        }

        var (settings, through, markersMs) = (now.Settings, now.Compacted.Through, now.Compacted.MarkersMs);
        var known = _history.Keyed(NameOf(now));
        var (beforeThrough, beforeMarkersMs) = known.Compacted;
        _history.NoteCompacted(NameOf(now), through, markersMs);
        var newest = through > beforeThrough ? known.TimeAt(through - 1) : 0;
        var isOldEnough = through <= Math.Max(beforeThrough, now.FirstOffset)
            || (settings.Compact && newest <= entry.TimestampUnixMs - settings.CompactAfterMs);
        World.Check(
            Holds(entry, CommandKind.UpdateTopic) || (isOldEnough
                && markersMs <= Math.Max(beforeMarkersMs, entry.TimestampUnixMs - settings.DeleteMarkerMs)),
            $"node {_node.Id} compacts a topic with {settings} through {through}, of {newest}, and markers of "
            + $"{markersMs} at {entry.TimestampUnixMs}");
    }

    /// <summary>
    /// The first group also holds what group 0 does in the real one: who belongs to the cluster and what its consumer
    /// groups are, where there is that, and how topics come to be. The first modules are this machine's, later ones
    /// those of a shadow.
    /// </summary>
    private StateModule[] MakeModules(SimulatedGroup group, TopicModule topics)
    {
        var (isFirst, scenario) = (group.Id.Value == 1, group.World.Scenario);
        var modules = new List<StateModule>();
        if (isFirst && scenario.HasMembership)
        {
            var cluster = new ClusterModule();
            var members = new MemberModule(cluster);
            _members ??= members;
            modules.AddRange([cluster, members]);
        }

        if (isFirst)
        {
            var policies = new TopicPolicyModule();
            _policies ??= policies;
            modules.Add(policies);
        }

        if (scenario.HasConsumers)
        {
            var progress = new GroupProgressModule(topics, new GroupBounds());
            Progress ??= progress;
            modules.Add(progress);
        }

        if (isFirst && scenario.HasConsumers)
        {
            var groups = new ConsumerGroupModule();
            _consumerGroups ??= groups;
            modules.Add(groups);
        }

        return [.. modules];
    }

    public void WriteSnapshot(IBufferWriter<byte> into) => _topics.WriteSnapshot(into);

    public void Restore(ReadOnlySpan<byte> snapshot)
    {
        _topics.Restore(snapshot);
        _node.NoteRestored(this, snapshot);
    }

    public bool TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body) =>
        _topics.TryWriteIndex(first, last, directory, body);

    public void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory) =>
        _topics.UseIndex(first, last, directory);

    public IStateMachine MakeShadow() => _topics.MakeShadow();

    public ILogThinning? LookForThinning() =>
        _topics.LookForThinning() is { } thinning ? new CountedThinning(this, thinning) : null;

    public IEntryThinner? MakeHollower(LogIndex first, LogIndex last) =>
        _topics.MakeHollower(first, last) is { } thinner ? new CountedThinner(this, thinner) : null;

    public void DropIndexes(LogIndex through) => _topics.DropIndexes(through);

    public void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length)
    {
        // Each record's value is the proposal's number, see PublishProposal.
        var number = BinaryPrimitives.ReadInt64LittleEndian(entry.Body.Span.Slice(position + length - sizeof(long)));
        _history.CheckStored(_node, NameNow(topic), baseOffset, count, number, timestampUnixMs);
        if (Progress is not null && Publisher.IsOfOne(topic) && _topics.TryGetTopic(topic, out var published))
        {
            _groupHistory!.NoteDelayed(
                published.Number, baseOffset, entry.Body.Span.Slice(position, length), timestampUnixMs);
        }

        if (topic == GroupHistory.Results)
        {
            _groupHistory!.NoteStored(number, entry.Index);
        }

        if (topic == KeyOwner.Topic)
        {
            _history.Keyed(NameNow(topic)).Note(
                baseOffset, entry.Body.Span.Slice(position, length), timestampUnixMs);
        }
    }

    public void OnThinned(string topic, long baseOffset, int count)
    {
        _history.CheckThinned(_node, NameNow(topic), baseOffset, count);
    }

    private string NameNow(string topic) =>
        _topics.TryGetTopic(topic, out var known) ? NameOf(known) : topic;

    public void OnTopicChanged(string topic)
    {
        // Nobody waits for it.
    }

    public void OnRestored()
    {
        // What a snapshot brings was checked when another replica applied it; the state hash goes on from there.
    }

    private sealed class CountedThinning(RecordingMachine machine, ILogThinning thinning) : ILogThinning
    {
        public long Learn(
            IReadOnlyList<SealedSegment> segments,
            Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
            int maxBytes) => thinning.Learn(segments, readEntries, maxBytes);

        public bool TryLearnAgain() => thinning.TryLearnAgain();

        public void AddKeptBytes(Dictionary<LogIndex, long> bySegment) => thinning.AddKeptBytes(bySegment);

        public void WriteGoneIndex(IBufferWriter<byte> directory)
        {
            machine._history.CountMerged();
            thinning.WriteGoneIndex(directory);
        }

        public IEntryThinner? TryBegin(LogIndex first, LogIndex last) =>
            thinning.TryBegin(first, last) is { } thinner ? new CountedThinner(machine, thinner) : null;
    }

    /// <summary>Only what has committed, and what a snapshot stands for, may be thinned.</summary>
    private sealed class CountedThinner(RecordingMachine machine, IEntryThinner thinner) : IEntryThinner
    {
        /// <summary>To ask the disk at each entry would take half of the whole run.</summary>
        private LogIndex _newestSnapshot = LogIndex.None;

        public LogEntry Thin(LogEntry entry)
        {
            var thinned = thinner.Thin(entry);
            World.Check(
                thinned == entry
                    || (machine._history.IsCommitted(entry.Index, Entry.Identify(entry)) && HasSnapshotOf(entry)),
                $"node {machine._node.Id} takes something out of entry {entry.Index}, which no snapshot stands for");
            machine._history.CountThinned(thinned == entry ? 0 : 1);
            return thinned;
        }

        private bool HasSnapshotOf(LogEntry entry)
        {
            if (entry.Index > _newestSnapshot)
            {
                _newestSnapshot = machine._node.NewestSnapshotOfBefore;
            }

            return entry.Index <= _newestSnapshot;
        }
    }
}
