using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.State;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <content>
/// Records that groups are to get at a later time: each becomes due once, by an entry that is not older than that, and
/// a reference stands for it then. Which topics they are in, and where, is by numbers.
/// </content>
internal sealed partial class GroupHistory
{
    /// <summary>What is due later than this never is, in a run.</summary>
    public static readonly long NeverMs = NodeClock.Epoch.AddDays(1).ToUnixTimeMilliseconds();

    private readonly Dictionary<(int Topic, long Offset), long> _delayed = [];
    private readonly Dictionary<(int Topic, long Offset), LogIndex> _due = [];
    private readonly Dictionary<(int Topic, long Offset), (int Topic, long Offset)> _references = [];
    private readonly HashSet<(int Topic, long Offset)> _cancelled = [];

    /// <summary>A replica has stored a batch as it was published.</summary>
    public void NoteDelayed(int topic, long baseOffset, ReadOnlySpan<byte> batch, long timestampUnixMs)
    {
        foreach (var (at, record) in RecordBatch.Parser.ParseFrom(batch).Records.Index())
        {
            if (record.DeliverAtUnixMs > timestampUnixMs
                && _delayed.TryAdd((topic, baseOffset + at), record.DeliverAtUnixMs))
            {
                group.World.Figures.Count(Figure.RecordDelayed);
            }
        }
    }

    /// <summary>Somebody has asked that a record is not delivered; it may come too late.</summary>
    public void NoteCancelled(int topic, long offset) => _cancelled.Add((topic, offset));

    /// <summary>A delayed record is not given where it stands.</summary>
    public bool IsDelayed(int topic, long offset) => _delayed.ContainsKey((topic, offset));

    /// <summary>What a reference stands for; null: it is a record itself.</summary>
    public (int Topic, long Offset)? TargetOf(int topic, long offset) =>
        _references.TryGetValue((topic, offset), out var target) ? target : null;

    /// <summary>A record is given: not where it stands when it is delayed, and not before its time.</summary>
    public void CheckDue(ReplicaNode node, int topic, long offset, bool isDueTopic)
    {
        World.Check(
            isDueTopic == _references.ContainsKey((topic, offset)),
            $"node {node.Id} gives {topic}/{offset}, which no command has said to be due");
        if (isDueTopic)
        {
            group.World.Figures.Count(Figure.DelayedDelivered);
        }
    }

    /// <summary>A replica has applied that records are due.</summary>
    public void CheckDue(ReplicaNode node, LogEntry entry, in Command command, in CommandResult result, int dueTopic)
    {
        var due = DelayCommands.ReadDue(command);
        if (result.Code != RefusalCode.None)
        {
            return;
        }

        var reference = result.BaseOffset;
        for (var rest = due.References; !rest.IsEmpty; reference++)
        {
            var offset = DueTopic.TakeReference(ref rest);
            var what = $"node {node.Id}, entry {entry.Index}: {due.Topic}/{offset}";
            World.Check(
                _delayed.TryGetValue((due.Topic, offset), out var dueUnixMs) && dueUnixMs <= entry.TimestampUnixMs,
                $"{what} is due at {entry.TimestampUnixMs}, and not delayed, or until {dueUnixMs}");
            World.Check(
                _due.TryAdd((due.Topic, offset), entry.Index) || _due[(due.Topic, offset)] == entry.Index,
                $"{what} is due once more");
            _references[(dueTopic, reference)] = (due.Topic, offset);
        }
    }

    /// <summary>At the end, when no row waits that has a time of this run: no delayed record was forgotten.</summary>
    public void CheckAllWereDue(TopicModule topics)
    {
        foreach (var ((topic, offset), dueUnixMs) in _delayed)
        {
            World.Check(
                _due.ContainsKey((topic, offset)) || _cancelled.Contains((topic, offset))
                    || topics.Find(topic) is not { } state || offset < state.Parts.FirstOffset
                    || (dueUnixMs > NeverMs && topics.Delays.TimeOf(topic, offset) == dueUnixMs),
                $"{topic}/{offset} of {group.Id} was due at {dueUnixMs}, and nobody has said so");
        }
    }
}
