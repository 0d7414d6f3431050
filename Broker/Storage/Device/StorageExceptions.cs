namespace Broker.Storage;

/// <summary>
/// A write or a flush failed. What is on the disk is unknown from here on (a second fsync may report success for pages
/// that the kernel has dropped: the "fsyncgate" of PostgreSQL, 2018), so the process must exit and recover from the
/// disk.
/// </summary>
public sealed class StorageException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>
/// There is no space for the write. Nothing of it was kept; reads go on, and a later write may succeed.
/// </summary>
public sealed class DiskFullException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>
/// A file holds other bytes than those that were made durable. A log goes on without them: it marks the segment, which
/// is then replaced from a peer (<see cref="GroupLog.ReplaceSegment"/>). Of a node's own record there is no other copy.
/// </summary>
public class StorageCorruptException(string path, long offset, string expected, Exception? cause = null)
    : IOException($"{path} is damaged at byte {offset:N0}: expected {expected}.", cause)
{
    /// <summary>The damaged or missing file.</summary>
    public string FilePath { get; } = path;

    /// <summary>Where in the file the damage begins.</summary>
    public long Offset { get; } = offset;

    /// <summary>What should have been there.</summary>
    public string Expected { get; } = expected;
}

/// <summary>
/// Entries are wanted of which only a part was kept here (<see cref="GroupLog.HollowSegment"/>): other
/// replicas have them. To who reads it is as a segment that waits for its repair.
/// </summary>
public sealed class HollowSegmentException(string path)
    : StorageCorruptException(path, 0, "entries; it is hollow, and other replicas keep what it had");

/// <summary>
/// The files are sound, but not for this process to use: another node's disk, another format version, or a folder that
/// another process has open. The message says which, and what to do.
/// </summary>
public sealed class StorageRefusedException(string message) : IOException(message);
