using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// A topic's batches in one sealed segment, whose locations stand in the segment's index file: 48 bytes in memory.
/// </summary>
/// <param name="SegmentFirst">The segment's first entry, which names its index file.</param>
/// <param name="BaseOffset">Offset of the first record.</param>
/// <param name="EndOffset">The offset after the last record.</param>
/// <param name="FirstSlot">Where the run begins in the file's body, counted in slots.</param>
/// <param name="Count">Its batches: one slot each.</param>
/// <param name="SizeBytes">Encoded bytes of its batches.</param>
/// <param name="LastTimestampUnixMs">Time of its last batch.</param>
internal readonly record struct IndexedRun(
    LogIndex SegmentFirst,
    long BaseOffset,
    long EndOffset,
    int FirstSlot,
    int Count,
    long SizeBytes,
    long LastTimestampUnixMs);
