namespace Broker.Storage;

/// <summary>
/// A file holds other bytes than those that were made durable. A log goes on without them: it marks the segment, which
/// is then replaced from a peer (<see cref="GroupLog.ReplaceSegment"/>). Of a node's own record there is no other copy.
/// </summary>
public sealed class StorageCorruptException(string path, long offset, string expected, Exception? cause = null)
    : IOException($"{path} is damaged at byte {offset:N0}: expected {expected}.", cause)
{
    /// <summary>The damaged or missing file.</summary>
    public string FilePath { get; } = path;

    /// <summary>Where in the file the damage begins.</summary>
    public long Offset { get; } = offset;

    /// <summary>What should have been there.</summary>
    public string Expected { get; } = expected;
}
