using Broker.Domain;

namespace Broker.Storage;

/// <summary>A group's files at rest, as <see cref="Scrubber"/> sees them. Called from its thread.</summary>
public interface IScrubbed
{
    GroupId Group { get; }

    /// <summary>The files that are worth a check now; those that are known to be damaged are left out.</summary>
    IReadOnlyList<ScrubItem> ScrubItems();

    /// <summary>
    /// Reads a piece of a file from a cursor on (0: the beginning) and checks it. It takes note of damage itself, so
    /// that the file is repaired or made anew. A file that is gone is <see cref="ScrubPiece.Nothing"/>.
    /// </summary>
    /// <param name="item">One of <see cref="ScrubItems"/>, maybe of a while ago.</param>
    /// <param name="cursor">What the piece before gave as <see cref="ScrubPiece.Next"/>.</param>
    /// <param name="maxBytes">About how much to read; a single entry may be larger.</param>
    /// <exception cref="IOException">The file could not be checked.</exception>
    ScrubPiece Verify(ScrubItem item, long cursor, int maxBytes);
}

/// <summary>A file at rest of a group: its kind, and the index that is its name.</summary>
public readonly record struct ScrubItem(ScrubKind Kind, LogIndex First);

/// <summary>The kinds of files that lie untouched for so long that damage in them would not be noticed.</summary>
public enum ScrubKind
{
    Segment,
    Positions,
    Index,
    Snapshot,
}

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
