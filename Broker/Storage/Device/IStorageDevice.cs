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
