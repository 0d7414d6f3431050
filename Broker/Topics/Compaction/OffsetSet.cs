using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Some offsets of a range: a bit for each, in pages that are made when they are needed. One thread adds, others ask
/// when it has done so.
/// </summary>
internal sealed class OffsetSet(long first, long end)
{
    private const int PageBits = 15;
    private const int PageWords = (1 << PageBits) / 64;

    private readonly ulong[]?[] _pages = new ulong[((end - first) >> PageBits) + 1][];
    private int _pageCount;

    public long SizeBytes => ((long)_pages.Length * sizeof(ulong)) + ((long)_pageCount * PageWords * sizeof(ulong));

    /// <summary>False: it was there already.</summary>
    public bool Add(long offset)
    {
        Invariant.Check(offset >= first && offset < end, "an offset lies in the range of its set");
        var at = offset - first;
        ref var page = ref _pages[at >> PageBits];
        if (page is null)
        {
            page = new ulong[PageWords];
            _pageCount++;
        }

        ref var word = ref page[(at >> 6) & (PageWords - 1)];
        var bit = 1UL << (int)(at & 63);
        var isNew = (word & bit) == 0;
        word |= bit;
        return isNew;
    }

    public bool Contains(long offset) => offset >= first && offset < end
        && _pages[(offset - first) >> PageBits] is { } page
        && (page[((offset - first) >> 6) & (PageWords - 1)] & (1UL << (int)((offset - first) & 63))) != 0;
}
