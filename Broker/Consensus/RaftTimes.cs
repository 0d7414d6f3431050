namespace Broker.Consensus;

/// <summary>The times of the options, as the node counts them.</summary>
internal sealed class RaftTimes(RaftOptions options)
{
    public long HeartbeatMs { get; } = (long)options.HeartbeatInterval.TotalMilliseconds;

    public long CommitNoticeMs { get; } = (long)options.CommitNoticeDelay.TotalMilliseconds;

    public long ElectionMinMs { get; } = (long)options.ElectionTimeoutMin.TotalMilliseconds;

    public long ElectionMaxMs { get; } = (long)options.ElectionTimeoutMax.TotalMilliseconds;

    public long BrokenConnectionMs { get; } = (long)options.BrokenConnectionDelayMax.TotalMilliseconds;

    public long SnapshotMs { get; } = (long)options.SnapshotTimeout.TotalMilliseconds;

    public long DoubtMs { get; } = (long)options.DoubtTimeout.TotalMilliseconds;

    /// <summary>
    /// The node's groups keep one beat, so that their heartbeats leave together. The first one of a leader comes the
    /// sooner for it, never later.
    /// </summary>
    public long NextBeatMs(long nowMs) => ((nowMs / HeartbeatMs) + 1) * HeartbeatMs;
}
