using System.Collections.Concurrent;

namespace Broker.Replication;

/// <summary>
/// One thread below normal priority for the files that nobody waits for. A group has at most one read per follower, one
/// read for apply, and one snapshot or index under way at a time, so the queue is bounded by the number of groups.
/// </summary>
public sealed class BackgroundWork : IBackgroundWork, IDisposable
{
    private readonly BlockingCollection<Action> _jobs = new(new ConcurrentQueue<Action>());
    private readonly CancellationTokenSource _stopping = new();
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

    public void Run(ReplicaGroup group, Action work)
    {
        if (!_jobs.IsAddingCompleted)
        {
            _jobs.Add(work);
        }
    }

    /// <summary>Ends the thread after the work at hand; what waits is given up.</summary>
    public void Dispose()
    {
        _stopping.Cancel();
        _jobs.CompleteAdding();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _jobs.Dispose();
        _stopping.Dispose();
    }

    private void Run()
    {
        try
        {
            foreach (var job in _jobs.GetConsumingEnumerable(_stopping.Token))
            {
                job();
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The node stops. Whatever was not done is found missing, and done, at the next start.
            return;
        }
        catch (Exception exception)
        {
            ReplicationLog.BackgroundFailed(_logger, exception.Message, exception);
            _onFatal(exception);
        }
    }
}
