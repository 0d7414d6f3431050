namespace Broker.Storage;

/// <summary>
/// A write or a flush failed. What is on the disk is unknown from here on (a second fsync may report success for pages
/// that the kernel has dropped: the "fsyncgate" of PostgreSQL, 2018), so the process must exit and recover from the
/// disk.
/// </summary>
public sealed class StorageException(string message, Exception? inner = null) : IOException(message, inner);
