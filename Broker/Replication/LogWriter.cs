using System.Diagnostics;
using Broker.Diagnostics;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// The one thread that writes to disk. Each group has at most one write here, so the queue is bounded by the number of
/// groups; while one flush runs, the groups gather their next write (group commit without sleeping).
/// </summary>
public sealed class LogWriter : ILogWriter, IDisposable
{
    /// <summary>How long a full disk is left alone before the write is tried again.</summary>
    private static readonly TimeSpan DiskFullRetry = TimeSpan.FromSeconds(1);

    private readonly WorkQueue<Job> _jobs = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private readonly Thread _thread;

    public LogWriter(BrokerMetrics metrics, ILogger logger, Action<Exception> onFatal)
    {
        _metrics = metrics;
        _logger = logger;
        _onFatal = onFatal;
        _thread = new Thread(Run) { Name = "log-writer", IsBackground = true, Priority = ThreadPriority.AboveNormal };
    }

    private readonly record struct Job(ReplicaGroup Group, GroupLog Log, LogWrite Write);

    public void Start() => _thread.Start();

    public void Submit(ReplicaGroup group, GroupLog log, LogWrite write) => _jobs.Add(new Job(group, log, write));

    /// <summary>Ends the thread after the write at hand.</summary>
    public void Dispose()
    {
        _stopping.Cancel();
        _jobs.Close();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _stopping.Dispose();
    }

    private void Run()
    {
        try
        {
            while (_jobs.TryTake(out var job))
            {
                var started = Stopwatch.GetTimestamp();
                Write(job);
                _metrics.Flushed(job.Write.SizeBytes, Stopwatch.GetElapsedTime(started));
                using var batch = InputBatch.Begin();
                job.Group.WriteCompleted();
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The node stops: what is not written was not acknowledged.
            return;
        }
        catch (Exception exception)
        {
            // After a failed fsync the page cache cannot be trusted (PostgreSQL's fsyncgate): only a restart can tell
            // what is there.
            ReplicationLog.WriterFailed(_logger, exception.Message, exception);
            _onFatal(exception);
        }
    }

    private void Write(in Job job)
    {
        while (true)
        {
            try
            {
                job.Log.Write(job.Write);
                return;
            }
            catch (DiskFullException exception)
            {
                ReplicationLog.DiskFull(_logger, exception.Message, exception);
                job.Group.NoteDiskFull();
                if (_stopping.Token.WaitHandle.WaitOne(DiskFullRetry))
                {
                    throw new OperationCanceledException(_stopping.Token);
                }
            }
        }
    }
}
