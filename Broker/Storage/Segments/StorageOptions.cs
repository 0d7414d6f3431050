using System.Security.Cryptography;

namespace Broker.Storage;

/// <summary>How a group's log uses the disk. The defaults suit every group; tests use small numbers.</summary>
public sealed class StorageOptions
{
    /// <summary>
    /// The size of a full-grown segment: large enough that rolling costs nothing, small enough to drop or copy as a
    /// whole.
    /// </summary>
    public long SegmentBytes { get; init; } = 64L * 1024 * 1024;

    /// <summary>
    /// The size of a group's first segment; each next one doubles until <see cref="SegmentBytes"/>, so an idle group
    /// costs little.
    /// </summary>
    public long FirstSegmentBytes { get; init; } = 4L * 1024 * 1024;

    /// <summary>
    /// How far ahead of small writes the file is filled with zeros. Overwriting written blocks needs no metadata in the
    /// flush: on ext4 a 64 KiB write + fdatasync takes 0.12 ms instead of 0.23 ms. A write above half of this fills
    /// nothing: its own bytes amortize the metadata, and the disk writes each byte once.
    /// </summary>
    public int ZeroAheadBytes { get; init; } = 1024 * 1024;

    /// <summary>Files of sealed segments that stay open for readers, per group.</summary>
    public int OpenSealedSegments { get; init; } = 16;

    /// <summary>
    /// Sealed segments whose frame positions stay in memory, per group, at 8 bytes an entry: 128 KiB for a segment of
    /// 4 KiB entries, 7 MB for one of the smallest entries. Readers of old entries move through one segment each; more
    /// of them than this read a positions file again and again. The memory of those that go last is kept for the next
    /// segment.
    /// </summary>
    public int LoadedSealedSegments { get; init; } = 4;

    /// <summary>Draws a segment's nonce; a simulation passes its seeded source.</summary>
    public Func<ulong> NewNonce { get; init; } =
        () => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
}
