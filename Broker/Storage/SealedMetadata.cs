using Broker.Domain;

namespace Broker.Storage;

/// <summary>All that a log needs to know of a sealed segment to go on without it, until it is replaced.</summary>
/// <param name="Header">The segment's own header, which may be lost.</param>
/// <param name="Last">Its last index.</param>
/// <param name="SuccessorCrc32C">What the next segment names as the CRC of the frame before it.</param>
/// <param name="TailOffset">Where its last frame ends.</param>
/// <param name="Runs">The terms of its entries.</param>
internal sealed record SealedMetadata(
    SegmentHeader Header, LogIndex Last, uint SuccessorCrc32C, long TailOffset, IReadOnlyList<TermRun> Runs)
{
    public int Count => checked((int)(Last - Header.First) + 1);
}
