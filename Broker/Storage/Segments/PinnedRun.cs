using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Consecutive frames of one segment that a reader may read; their file stays open until <see
/// cref="SegmentSet.Unpin"/>.
/// </summary>
internal readonly record struct PinnedRun(
    Segment Segment, IStorageFile File, LogIndex First, long Offset, FramePosition[] Frames, long Cuts)
{
    public int FileBytes => checked((int)(Frames[^1].EndOffset - Offset));
}
