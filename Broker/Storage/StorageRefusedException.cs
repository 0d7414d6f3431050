namespace Broker.Storage;

/// <summary>
/// The files are sound, but not for this process to use: another node's disk, another format version, or a folder that
/// another process has open. The message says which, and what to do.
/// </summary>
public sealed class StorageRefusedException(string message) : IOException(message);
