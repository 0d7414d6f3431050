using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The sizes of a leader's entries: they bound what waits for its commit, and what one message holds. Of those that
/// have not committed it remembers them, as the caller may not have stored these yet. A ring: as many slots as entries
/// ever waited at once, which the byte bound limits.
/// </summary>
/// <param name="storedSizeBytes">The size of an entry that the caller has stored.</param>
internal sealed class EntrySizes(Func<LogIndex, int> storedSizeBytes)
{
    private int[] _ring = new int[64];
    private LogIndex _first = new(1);
    private int _count;

    public long UncommittedBytes { get; private set; }

    public void Clear()
    {
        _count = 0;
        UncommittedBytes = 0;
    }

    public void Add(LogIndex index, int sizeBytes)
    {
        if (_count == 0)
        {
            _first = index;
        }

        Invariant.Check(index == _first + _count, "a leader's entries follow one another");
        if (_count == _ring.Length)
        {
            Grow();
        }

        _ring[SlotOf(index)] = sizeBytes;
        _count++;
        UncommittedBytes += sizeBytes;
    }

    /// <summary>
    /// What earlier leaders left uncommitted counts against the bound too; otherwise each change of leader would let in
    /// as much again. The walk ends where the bound is reached: after a restart the whole log may count as uncommitted,
    /// and proposals then wait until the no-op has committed.
    /// </summary>
    public void AddTail(LogIndex commitIndex, LogIndex lastIndex, long maxBytes)
    {
        var first = lastIndex.Next();
        for (var sum = 0L; sum <= maxBytes && first.Previous() > commitIndex;)
        {
            first = first.Previous();
            sum += storedSizeBytes(first);
        }

        for (; first <= lastIndex; first = first.Next())
        {
            Add(first, storedSizeBytes(first));
        }
    }

    /// <summary>One entry is always let in, whatever its size.</summary>
    public bool HasRoom(int sizeBytes, long maxBytes) =>
        UncommittedBytes == 0 || UncommittedBytes + sizeBytes <= maxBytes;

    /// <summary>How many entries fit into one message; a single larger one is sent alone.</summary>
    public int CountFitting(LogIndex first, LogIndex last, int maxBytes, out int sizeBytes)
    {
        var count = 0;
        sizeBytes = 0;
        while (first + count <= last)
        {
            var entryBytes = SizeOf(first + count);
            if (count > 0 && sizeBytes + entryBytes > maxBytes)
            {
                break;
            }

            sizeBytes += entryBytes;
            count++;
        }

        return count;
    }

    public int SizeOf(LogIndex index)
    {
        var isUncommitted = index >= _first && index - _first < _count;
        return isUncommitted ? _ring[SlotOf(index)] : storedSizeBytes(index);
    }

    /// <summary>All through an index have committed.</summary>
    public void RemoveThrough(LogIndex index)
    {
        while (_count > 0 && _first <= index)
        {
            UncommittedBytes -= _ring[SlotOf(_first)];
            _first = _first.Next();
            _count--;
        }
    }

    private int SlotOf(LogIndex index) => (int)(index.Value & (_ring.Length - 1));

    private void Grow()
    {
        var old = _ring;
        _ring = new int[old.Length * 2];
        for (var index = _first; index - _first < _count; index = index.Next())
        {
            _ring[SlotOf(index)] = old[(int)(index.Value & (old.Length - 1))];
        }
    }
}
