namespace Broker.Storage;

/// <summary>
/// There is no space for the write. Nothing of it was kept; reads go on, and a later write may succeed.
/// </summary>
public sealed class DiskFullException(string message, Exception? inner = null) : IOException(message, inner);
