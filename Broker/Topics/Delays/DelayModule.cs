using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Delayed records of a data shard. The topics put a row into the table for each record that is not due when it is
/// stored, and take out what is purged or deleted. When records are due the leader says so, by its clock; that command
/// takes their rows out and stores references to them in the topic's <see cref="DueTopic"/>, where groups find them. So
/// each comes once, whoever leads, and never before the time of that command's entry.
/// </summary>
/// <param name="topics">The shard's topics; it stands before this module.</param>
internal sealed class DelayModule(TopicModule topics) : StateModule
{
    private const byte Format = 1;

    /// <summary>Rows of other topics that a look at what is due passes over.</summary>
    private const int RowsPerLook = 4_096;

    // Of these the leader has said already, in this look, what is due.
    private readonly HashSet<int> _asked = [];

    internal override StateSection Section => StateSection.Delays;

    internal override byte SectionFormat => Format;

    /// <summary>Without it an older version can read the snapshots of a shard in which nothing is delayed.</summary>
    internal override bool HasSection => !topics.Delays.IsEmpty;

    internal override ReadOnlySpan<CommandKind> Commands => [CommandKind.DelayDue, CommandKind.CancelDelayed];

    internal override long NextDutyUnixMs => topics.Delays.NextDueUnixMs;

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        var result = command.Kind == CommandKind.DelayDue
            ? ApplyDue(step, DelayCommands.ReadDue(command))
            : ApplyCancel(step, command);
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    /// <summary>
    /// Of each topic once in a look: what it has beyond that comes when this was applied.
    /// </summary>
    internal override bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
    {
        var (topic, looks) = (-1, 0);
        var offsets = new List<long>();
        foreach (var row in topics.Delays.NextDueUnixMs <= nowUnixMs ? topics.Delays.ByTime : [])
        {
            if (row.DueUnixMs > nowUnixMs || looks++ == RowsPerLook || offsets.Count == Limits.DelayedDueAtOnce)
            {
                break;
            }

            if (row.Topic == topic || (topic < 0 && !_asked.Contains(row.Topic)))
            {
                topic = row.Topic;
                offsets.Add(row.Offset);
            }
        }

        if (topic < 0)
        {
            _asked.Clear();
            return false;
        }

        _asked.Add(topic);
        DelayCommands.WriteDue(command, topic, offsets);
        return true;
    }

    internal override void Write(ref SnapshotWriter writer) => topics.Delays.Write(ref writer);

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(format == Format, "the section of delayed records has a format that is known");
        var table = DelayTable.Read(ref reader, topics.Bounds.Delayed);
        return () => topics.Delays = table;
    }

    internal override void Clear() => topics.Delays = new DelayTable();

    /// <summary>
    /// All of them, or none: some may have been cancelled, purged, or said to be due by another leader since this one
    /// has looked. What is left is said in the next look.
    /// </summary>
    private CommandResult ApplyDue(in ApplyStep step, in DelayDueCommand due)
    {
        _asked.Remove(due.Topic);
        step.Hash.Add(due.Topic);
        var isAll = true;
        for (var rest = due.References; !rest.IsEmpty;)
        {
            var offset = DueTopic.TakeReference(ref rest);
            step.Hash.Add(offset);
            isAll &= topics.Delays.TimeOf(due.Topic, offset) <= step.Entry.TimestampUnixMs;
        }

        if (!isAll)
        {
            return new CommandResult { Code = RefusalCode.NotFound };
        }

        for (var rest = due.References; !rest.IsEmpty;)
        {
            var isRemoved = topics.Delays.Remove(due.Topic, DueTopic.TakeReference(ref rest));
            Invariant.Check(isRemoved, "a record is due once");
        }

        return new CommandResult { BaseOffset = topics.AppendDue(step, due), Count = due.Count };
    }

    private CommandResult ApplyCancel(in ApplyStep step, in Command command)
    {
        var (topic, offsets) = DelayCommands.ReadCancel(command);
        step.Hash.Add(topic);
        var count = 0;
        foreach (var offset in offsets)
        {
            step.Hash.Add(offset);
            count += topics.Delays.Remove(topic, offset) ? 1 : 0;
        }

        return new CommandResult { Count = count, Topic = topic };
    }
}
