namespace Broker.Replication;

/// <summary>
/// Mostly one thread below normal priority for the files that nobody waits for. A group has at most one read per
/// follower, one read for apply, and one snapshot or index under way at a time, so the queue is bounded by the number
/// of groups.
/// </summary>
public sealed class BackgroundWork : IBackgroundWork
{
    private readonly GroupThreads<Action> _threads;

    public BackgroundWork(ILogger logger, Action<Exception> onFatal) => _threads = new GroupThreads<Action>(
        "background",
        ThreadPriority.BelowNormal,
        static work => work(),
        exception =>
        {
            ReplicationEvents.BackgroundFailed(logger, exception.Message, exception);
            onFatal(exception);
        });

    public void Start() => _threads.Start();

    public void Run(ReplicaGroup group, Action work) => _threads.Add(group, work);

    public void Expedite(ReplicaGroup group) => _threads.Expedite(group);

    /// <summary>
    /// Ends after the work at hand; what waits is given up, found missing at the next start, and done then. False: one
    /// hangs.
    /// </summary>
    public bool Stop() => _threads.Stop();
}
