using Broker.Domain;

namespace Broker.Storage;

/// <summary>What the vote file knows of the segment that is appended to, so that its header may be lost.</summary>
/// <param name="First">Its first index, also while the file does not exist yet.</param>
/// <param name="Nonce">Its header's nonce, without which no frame can be recognized.</param>
/// <param name="CapacityBytes">The file's length; 0 while it does not exist yet.</param>
internal readonly record struct ActiveSegment(LogIndex First, ulong Nonce, long CapacityBytes)
{
    public bool IsMade => CapacityBytes > 0;

    public static ActiveSegment NotMadeYet(LogIndex first) => new(first, Nonce: 0, CapacityBytes: 0);

    public static ActiveSegment Of(in SegmentHeader header) => new(header.First, header.Nonce, header.CapacityBytes);
}
