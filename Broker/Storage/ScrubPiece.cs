namespace Broker.Storage;

/// <summary>What the check of a piece of a file came to.</summary>
/// <param name="Next">Where the next piece begins, as its owner counts; <see cref="End"/> after the last one.</param>
/// <param name="Bytes">What was read from the disk for it.</param>
/// <param name="IsIntact">False when the file is damaged; its owner has taken note of it already.</param>
public readonly record struct ScrubPiece(long Next, int Bytes, bool IsIntact)
{
    public const long End = -1;

    /// <summary>There is no such file any more, or nothing in it.</summary>
    public static ScrubPiece Nothing => new(End, 0, IsIntact: true);

    public bool IsLast => Next == End;

    internal int Pages => (Bytes / CheckedPages.PageBytes) - 1;

    public static ScrubPiece Damaged(int bytes) => new(End, bytes, IsIntact: false);

    /// <summary>The header and as many pages from this one on as the bound allows, one at the least.</summary>
    internal static ScrubPiece OfPages(long page, long pages, int maxBytes)
    {
        var count = Math.Clamp(maxBytes / CheckedPages.PageBytes, 1, int.MaxValue);
        var taken = Math.Clamp(pages - page, 0, count);
        return new ScrubPiece(
            page + taken < pages ? page + taken : End, (int)(taken + 1) * CheckedPages.PageBytes, IsIntact: true);
    }
}
