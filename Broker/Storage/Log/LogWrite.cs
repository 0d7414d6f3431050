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

/// <summary>
/// Does what a <see cref="LogWrite"/> asks for, in its order: hard state with configurations and fence, snapshot or
/// truncation, drop, entries. Used by one thread at a time.
/// </summary>
internal sealed class WriteSteps(VoteFile vote, SegmentSet segments, LogBounds bounds, LogTail tail)
{
    /// <summary>
    /// When it returns, all of it is durable. On a full disk the log holds no entry and no snapshot of the write: the
    /// failure is returned.
    /// </summary>
    public DiskFullException? TryRun(LogWrite write)
    {
        CheckOrder(write);
        if (write.Snapshot is { } install)
        {
            if (TryInstall(install, write) is { } full)
            {
                return full;
            }
        }
        else if (write.TruncateFrom is { } from && from <= segments.Last)
        {
            bounds.TruncateFrom(from, Changed(write));
        }
        else if (Changed(write) is var changed && changed != vote.Current)
        {
            // The vote is durable before the entries: a log never holds a term that the hard state has not reached.
            vote.Write(changed);
        }

        if (write.DropThrough is { } dropped)
        {
            bounds.DropThrough(dropped);
        }

        return write.Entries.Count == 0 ? null : TryAppend(write.Entries);
    }

    private void CheckOrder(LogWrite write)
    {
        var first = write.Snapshot?.Position.Index.Next() ?? segments.First;
        var end = write.Snapshot is null ? segments.Last.Next() : first;
        Invariant.Check(first >= segments.First, "a snapshot does not lead behind the base");
        Invariant.Check(
            write.TruncateFrom is null || write.TruncateFrom >= first, "a truncation begins within the log");
        var expected = write.TruncateFrom is { } from ? LogIndex.Min(from, end) : end;
        foreach (var entry in write.Entries)
        {
            Invariant.Check(entry.Index == expected, "appended entries follow the log without a gap");
            Invariant.Check(entry.Body.Length <= Limits.EntryBytes, "an entry is within its limit");
            expected = expected.Next();
        }
    }

    /// <summary>On a full disk the log stays as it is, and the hard state is kept.</summary>
    private DiskFullException? TryInstall(StateSnapshot install, LogWrite write)
    {
        var full = bounds.TryInstall(install, Changed(write) with
        {
            Configuration = write.Configuration ?? install.Configuration,
            PreviousConfiguration = write.PreviousConfiguration,
        });
        if (full is not null && write.HardState is { } hardState && hardState != vote.Current.HardState)
        {
            vote.Write(vote.Current with { HardState = hardState });
        }

        return full;
    }

    /// <summary>Appends and flushes; on a full disk cuts back to the previous end and returns the failure.</summary>
    private DiskFullException? TryAppend(List<LogEntry> entries)
    {
        var next = segments.Last.Next();
        try
        {
            tail.Append(entries);
            return null;
        }
        catch (DiskFullException full)
        {
            tail.Forget();
            segments.Terms.CutFrom(next);
            if (segments.Active is not null)
            {
                bounds.TruncateFrom(next, vote.Current);
            }

            return full;
        }
    }

    /// <summary>The vote file's record with what the write changes in it; the present one if that is nothing.</summary>
    private VoteRecord Changed(LogWrite write)
    {
        var current = vote.Current;
        return write.HardState is null && write.Configuration is null && write.PreviousConfiguration is null
            && write.Fence is null && !write.RaisesFloor
            ? current
            : current with
            {
                HardState = write.HardState ?? current.HardState,
                Configuration = write.Configuration ?? current.Configuration,
                PreviousConfiguration = write.Configuration is null && write.PreviousConfiguration is null
                    ? current.PreviousConfiguration
                    : write.PreviousConfiguration,
                Fence = write.Fence ?? current.Fence,
                DurableFloor = segments.Last,
            };
    }
}
