using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One unit of work for the log writer: what must be durable before the replica answers. Executed in the order hard
/// state with configurations and fence, snapshot, truncation, drop, entries. Built by one thread, then handed to the
/// writer; reusable after <see cref="Clear"/>.
/// </summary>
public sealed class LogWrite
{
    /// <summary>The new term and vote; null when they do not change.</summary>
    public HardState? HardState { get; set; }

    /// <summary>
    /// The members that hold from an entry of this write on, or again after its truncation; null when they do not
    /// change.
    /// </summary>
    public GroupConfiguration? Configuration { get; set; }

    /// <summary>The members before <see cref="Configuration"/>; null when they do not change.</summary>
    public GroupConfiguration? PreviousConfiguration { get; set; }

    /// <summary>The new fence, <see cref="LogPosition.None"/> to lift it; null when it does not change.</summary>
    public LogPosition? Fence { get; set; }

    /// <summary>The state, as it came from the leader, that takes the place of the whole log; null: none.</summary>
    public StateSnapshot? Snapshot { get; set; }

    /// <summary>
    /// The log shall begin after this entry, the last one of a sealed segment, at which there is a snapshot; null:
    /// nothing is dropped.
    /// </summary>
    public LogIndex? DropThrough { get; set; }

    /// <summary>The first index to remove; null when nothing is removed.</summary>
    public LogIndex? TruncateFrom { get; set; }

    /// <summary>
    /// The vote file shall say how far the log is durable: the proof that its last entries, which no later frame
    /// proves, were there.
    /// </summary>
    public bool RaisesFloor { get; set; }

    /// <summary>Consecutive entries that follow what remains of the log.</summary>
    public List<LogEntry> Entries { get; } = [];

    public bool IsEmpty => HardState is null && Configuration is null && PreviousConfiguration is null && Fence is null
        && Snapshot is null && DropThrough is null && TruncateFrom is null && !RaisesFloor && Entries.Count == 0;

    /// <summary>Bytes of the entries as they lie on disk, without padding.</summary>
    public long SizeBytes
    {
        get
        {
            var sum = 0L;
            foreach (var entry in Entries)
            {
                sum += entry.SizeBytes;
            }

            return sum;
        }
    }

    public void Clear()
    {
        HardState = null;
        Configuration = null;
        PreviousConfiguration = null;
        Fence = null;
        Snapshot = null;
        DropThrough = null;
        TruncateFrom = null;
        RaisesFloor = false;
        Entries.Clear();
    }
}
