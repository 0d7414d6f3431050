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
