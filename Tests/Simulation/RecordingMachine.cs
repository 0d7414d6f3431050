using System.Buffers;
using System.Buffers.Binary;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>The real state machine of a data shard, with every step reported to the history.</summary>
internal sealed class RecordingMachine : IStateMachine, IAppliedBatches
{
    private readonly History _history;
    private readonly ReplicaNode _node;
    private readonly TopicStateMachine _topics;
    private readonly SimulatedMembership? _membership;
    private MemberModule? _members;

    public RecordingMachine(SimulatedGroup group, ReplicaNode node)
    {
        _history = group.History;
        _node = node;
        _membership = group.Id.Value == 1 ? group.World.Membership : null;
        var bounds = new TopicBounds
        {
            ProducersPerTopic = Crowd.MostProducers,
            ProducerExpiryMs = group.World.Scenario.ProducerExpiryMs,
        };

        // The first group also holds who belongs to the cluster, as group 0 does in the real one.
        _topics = group.Id.Value == 1 && group.World.Scenario.HasMembership
            ? new TopicStateMachine(this, bounds, MakeMembers)
            : new TopicStateMachine(this, bounds);
    }

    public ClusterMembers Members => _members?.Current ?? ClusterMembers.Empty;

    public ulong StateHash => _topics.StateHash;

    public long LastTimestampUnixMs => _topics.LastTimestampUnixMs;

    public bool KeepsIndexes => _topics.KeepsIndexes;

    public LogIndex FirstNeeded => _topics.FirstNeeded;

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        _node.NoteApplied(entry.Index);
        var before = Owned;
        _topics.Apply(entry, results);
        _history.CheckState(_node, entry.Index, StateHash);
        _membership?.Note(_node, Members);
        CheckKept(entry, before);
    }

    /// <summary>Whether the owner's topic holds no more than it keeps.</summary>
    public bool IsTrimmed => Owned is not { } owned
        || owned.Settings.MaxRecords == 0 || owned.Next - owned.First <= owned.Settings.MaxRecords;

    public bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command) => _topics.TryWriteDuty(nowUnixMs, command);

    private (int Number, long First, long Next, TopicSettings Settings)? Owned =>
        _topics.TryGetTopic(TopicOwner.Topic, out var topic)
            ? (topic.Number, topic.FirstOffset, topic.NextOffset, topic.Settings)
            : null;

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

    /// <summary>The first ones are this machine's, later ones those of a shadow.</summary>
    private StateModule[] MakeMembers()
    {
        var cluster = new ClusterModule();
        var members = new MemberModule(cluster);
        _members ??= members;
        return [cluster, members];
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

    public void DropIndexes(LogIndex through) => _topics.DropIndexes(through);

    public void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length)
    {
        // Each record's value is the proposal's number, see PublishProposal.
        var number = BinaryPrimitives.ReadInt64LittleEndian(entry.Body.Span.Slice(position + length - sizeof(long)));
        if (topic == TopicOwner.Topic && _topics.TryGetTopic(topic, out var owned))
        {
            // Offsets begin anew with every topic that has the name.
            topic = $"{topic}#{owned.Number}";
        }

        _history.CheckStored(_node, topic, baseOffset, count, number, timestampUnixMs);
    }

    public void OnTopicChanged(string topic)
    {
        // Nobody waits for it.
    }

    public void OnRestored()
    {
        // What a snapshot brings was checked when another replica applied it; the state hash goes on from there.
    }
}
