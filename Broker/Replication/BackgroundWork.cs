namespace Broker.Replication;

/// <summary>
/// One thread below normal priority for the files that nobody waits for. A group has at most one read per follower, one
/// read for apply, and one snapshot or index under way at a time, so the queue is bounded by the number of groups.
/// </summary>
public sealed class BackgroundWork : IBackgroundWork, IDisposable
{
    private readonly WorkQueue<Action> _jobs = new();
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private readonly Thread _thread;

    public BackgroundWork(ILogger logger, Action<Exception> onFatal)
    {
        _logger = logger;
        _onFatal = onFatal;
        _thread = new Thread(Run) { Name = "background", IsBackground = true, Priority = ThreadPriority.BelowNormal };
    }

    public void Start() => _thread.Start();

    public void Run(ReplicaGroup group, Action work) => _jobs.Add(work);

    /// <summary>
    /// Ends the thread after the work at hand. What waits is given up, found missing at the next start, and done then.
    /// </summary>
    public void Dispose()
    {
        _jobs.Close();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }
    }

    private void Run()
    {
        try
        {
            while (_jobs.TryTake(out var job))
            {
                job();
            }
        }
        catch (Exception exception)
        {
            ReplicationLog.BackgroundFailed(_logger, exception.Message, exception);
            _onFatal(exception);
        }
    }
}
