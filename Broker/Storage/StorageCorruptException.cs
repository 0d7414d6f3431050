namespace Broker.Storage;

/// <summary>A file holds other bytes than those that were made durable. The replica must not serve from it.</summary>
public sealed class StorageCorruptException(string path, long offset, string expected) : IOException(
    $"{path} is damaged at byte {offset:N0}: expected {expected}. This replica refuses to serve rather than lose data. "
    + "Keep the file for inspection; restore this node's data folder from a copy of the same disk, or replace the node "
    + "by one with an empty data folder while a majority of the other nodes is up.")
{
    /// <summary>The damaged or missing file.</summary>
    public string FilePath { get; } = path;

    /// <summary>Where in the file the damage begins.</summary>
    public long Offset { get; } = offset;

    /// <summary>What should have been there.</summary>
    public string Expected { get; } = expected;
}
