namespace Broker.Storage;

/// <summary>
/// The device seam: every file operation of the broker. Paths are absolute. Failures are <see
/// cref="DiskFullException"/> when there is no space, any other <see cref="IOException"/> or <see
/// cref="UnauthorizedAccessException"/> otherwise.
/// </summary>
public interface IStorageDevice
{
    /// <summary>Creates the folder and its parents; they are durable when it returns.</summary>
    void CreateFolder(string path);

    /// <summary>Whether a file of this path exists.</summary>
    bool Exists(string path);

    /// <summary>Names (not paths) of the folder's files, in ordinal order.</summary>
    IReadOnlyList<string> List(string folder);

    long Length(string path);

    /// <summary>
    /// Opens for reading and writing. A created file's name is durable after <see cref="SyncFolder"/>.
    /// </summary>
    IStorageFile Open(string path, bool create);

    void Delete(string path);

    /// <summary>Renames a file, replacing what has the new name.</summary>
    void Rename(string from, string to);

    /// <summary>Makes creations, deletions and renames in the folder durable.</summary>
    void SyncFolder(string folder);

    /// <summary>Bytes of the folder's file system that can still be written.</summary>
    long FreeBytes(string folder);

    /// <summary>
    /// Takes the file as an exclusive lock that ends with its owner's process; null when another holds it.
    /// </summary>
    IDisposable? TryLock(string path);
}

/// <summary>An open file. Reads may run beside one writer.</summary>
public interface IStorageFile : IDisposable
{
    long Length { get; }

    /// <summary>Reads until the span is full or the file ends; returns the bytes read, 0 at the end.</summary>
    int Read(long offset, Span<byte> into);

    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Writes the parts one after another, gathered into as few system calls as possible.</summary>
    void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts);

    /// <summary>Extends the file to this length; the new bytes read as zero and their space is reserved.</summary>
    void Allocate(long lengthBytes);

    /// <summary>Makes the file's bytes and length durable.</summary>
    void Sync();
}

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
