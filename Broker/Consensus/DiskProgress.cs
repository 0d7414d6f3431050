using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What of log, term and vote is durable, what is on its way to the disk, and what the next Ready must name. Writes end
/// in the order in which they were handed out.
/// </summary>
internal sealed class DiskProgress(LogIndex lastIndex)
{
    /// <summary>Writes under way, oldest first: which Ready, and the last entry that it makes durable.</summary>
    private readonly List<(long Sequence, LogIndex Last)> _pending = [];

    /// <summary>The sequence of the last Ready that had something to persist.</summary>
    private long _takenSequence;

    private long _persistedSequence;

    /// <summary>The first entry that no Ready has named for appending. Above what is flushed.</summary>
    private LogIndex _unstableFirst = lastIndex.Next();

    /// <summary>From where on entries that an earlier Ready named must go.</summary>
    private LogIndex? _truncateFrom;

    /// <summary>The base that replaces the whole log, until a Ready has named it.</summary>
    private LogPosition? _snapshot;

    /// <summary>The entry of a new leader's, until a Ready has named it.</summary>
    private LogIndex? _noop;

    /// <summary>This replica's own log is durable up to here.</summary>
    public LogIndex FlushedIndex { get; private set; } = lastIndex;

    /// <summary>The current term and vote are durable once this sequence is.</summary>
    public long HardStateSequence { get; private set; }

    /// <summary>Term or vote changed since the last Ready.</summary>
    public bool HardStateChanged { get; private set; }

    public bool IsHardStateDurable => HardStateSequence <= _persistedSequence;

    /// <summary>Whether a log that ends at an index, or the hard state, has what no Ready has named.</summary>
    public bool HasWork(LogIndex lastIndex) =>
        HardStateChanged || _snapshot is not null || _truncateFrom is not null || _unstableFirst <= lastIndex;

    public void MarkHardStateChanged()
    {
        HardStateChanged = true;
        HardStateSequence = _takenSequence + 1;
    }

    public void NameNoop(LogIndex index) => _noop = index;

    /// <summary>
    /// Entries are removed. A write of them that is still under way will report success later; it must then not count
    /// for the entries that took their place.
    /// </summary>
    public void TruncateFrom(LogIndex from)
    {
        if (from < _unstableFirst)
        {
            _truncateFrom = _truncateFrom is { } earlier ? LogIndex.Min(earlier, from) : from;
            _unstableFirst = from;
        }

        var last = from.Previous();
        FlushedIndex = LogIndex.Min(FlushedIndex, last);
        for (var i = 0; i < _pending.Count; i++)
        {
            var pending = _pending[i];
            _pending[i] = pending with { Last = LogIndex.Min(pending.Last, last) };
        }

        if (_noop >= from)
        {
            _noop = null;
        }
    }

    /// <summary>A snapshot takes the place of the whole log.</summary>
    /// <param name="position">The new base.</param>
    /// <param name="commitIndex">What has committed here; below the base.</param>
    public void ReplaceLog(LogPosition position, LogIndex commitIndex)
    {
        _snapshot = position;
        _truncateFrom = null;
        _noop = null;
        _unstableFirst = position.Index.Next();

        // Writes under way are of entries that are no more. What is committed stays durable: in the old log, until the
        // snapshot that holds it is.
        FlushedIndex = commitIndex;
        for (var i = 0; i < _pending.Count; i++)
        {
            _pending[i] = _pending[i] with { Last = LogIndex.None };
        }
    }

    /// <summary>Names all work in a Ready.</summary>
    /// <param name="ready">Gets it.</param>
    /// <param name="last">The last entry of the log.</param>
    /// <param name="isWritten">Whether there is work, here or elsewhere.</param>
    public void TakeInto(Ready ready, LogIndex last, bool isWritten)
    {
        var makesDurable = _unstableFirst <= last || _snapshot is not null;
        ready.Snapshot = _snapshot;
        ready.TruncateFrom = _truncateFrom;
        ready.AppendFirst = _unstableFirst;
        ready.AppendLast = last;
        ready.Noop = _noop;
        ready.PersistSequence = isWritten ? ++_takenSequence : 0;
        if (isWritten)
        {
            _pending.Add((_takenSequence, makesDurable ? last : LogIndex.None));
        }

        Invariant.Check(HardStateSequence <= _takenSequence, "a new term or vote is in the next Ready");
        HardStateChanged = false;
        _snapshot = null;
        _truncateFrom = null;
        _noop = null;
        _unstableFirst = last.Next();
    }

    /// <summary>All writes up to this sequence have ended. False: that was known.</summary>
    public bool TryPersist(long sequence)
    {
        Invariant.Check(sequence <= _takenSequence, "only what was handed out can be persisted");
        if (sequence <= _persistedSequence)
        {
            return false;
        }

        _persistedSequence = sequence;
        var done = 0;
        while (done < _pending.Count && _pending[done].Sequence <= sequence)
        {
            FlushedIndex = LogIndex.Max(FlushedIndex, _pending[done].Last);
            done++;
        }

        _pending.RemoveRange(0, done);
        Invariant.Check(FlushedIndex < _unstableFirst, "only entries that were handed out are durable");
        return true;
    }
}
