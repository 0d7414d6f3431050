using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The sizes of a leader's entries that have not committed. They bound what waits, and tell the size of an entry
/// that the caller has not stored yet. A ring: as many slots as entries ever waited at once, which the byte bound
/// limits.
/// </summary>
internal sealed class UncommittedSizes
{
    private int[] _ring = new int[64];
    private LogIndex _first = new(1);
    private int _count;

    public long TotalBytes { get; private set; }

    public void Clear()
    {
        _count = 0;
        TotalBytes = 0;
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
        TotalBytes += sizeBytes;
    }

    public bool TryGet(LogIndex index, out int sizeBytes)
    {
        var known = index >= _first && index - _first < _count;
        sizeBytes = known ? _ring[SlotOf(index)] : 0;
        return known;
    }

    public void RemoveThrough(LogIndex index)
    {
        while (_count > 0 && _first <= index)
        {
            TotalBytes -= _ring[SlotOf(_first)];
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
