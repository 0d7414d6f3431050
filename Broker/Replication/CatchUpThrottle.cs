namespace Broker.Replication;

/// <summary>
/// Spreads over time what a node reads from its disk for learners that catch up, of all its groups together, so that a
/// node that comes does not take the disk and the network from those that publish. What is in memory is sent as it
/// comes: a learner that is that near is held up by nothing. Voters are not held up either: a shard is weaker until
/// they have everything. Belongs to the loop.
/// </summary>
/// <param name="bytesPerSecond">The most that is read; 0: as much as the disk gives.</param>
public sealed class CatchUpThrottle(long bytesPerSecond)
{
    private long _freeAtMs;

    /// <summary>How long the next read has to wait; 0: not at all.</summary>
    public long WaitMs(long nowMs) => Math.Max(0, _freeAtMs - nowMs);

    /// <summary>So much was read: what comes next waits until that would have taken its time.</summary>
    public void Take(long bytes, long nowMs)
    {
        if (bytesPerSecond > 0)
        {
            _freeAtMs = Math.Max(_freeAtMs, nowMs) + (bytes * 1_000 / bytesPerSecond);
        }
    }
}
