using System.Diagnostics;
using Broker.Diagnostics;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Writes to disk: mostly one thread, on which the groups' writes follow one another. Each group has at most one write
/// here; while one flush runs, the groups gather their next write (group commit without sleeping).
/// </summary>
public sealed class LogWriter : ILogWriter
{
    private readonly GroupThreads<Job> _threads;
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;

    public LogWriter(BrokerMetrics metrics, ILogger logger, Action<Exception> onFatal)
    {
        _metrics = metrics;
        _logger = logger;
        _threads = new GroupThreads<Job>("log-writer", ThreadPriority.AboveNormal, Write, exception =>
        {
            // After a failed fsync the page cache cannot be trusted (PostgreSQL's fsyncgate): only a restart can tell
            // what is there.
            ReplicationEvents.WriterFailed(_logger, exception.Message, exception);
            onFatal(exception);
        });
    }

    private readonly record struct Job(ReplicaGroup Group, GroupLog Log, LogWrite Write);

    /// <summary>How many threads there are: more than one while the disk hangs under a write.</summary>
    internal int ThreadCount => _threads.Count;

    public void Start() => _threads.Start();

    public void Submit(ReplicaGroup group, GroupLog log, LogWrite write) =>
        _threads.Add(group, new Job(group, log, write));

    public void Expedite(ReplicaGroup group) => _threads.Expedite(group);

    /// <summary>
    /// Ends after the writes at hand; what waits was not acknowledged. False: a write hangs, and its log is in use
    /// until the process ends.
    /// </summary>
    public bool Stop() => _threads.Stop();

    private void Write(Job job)
    {
        var started = Stopwatch.GetTimestamp();
        try
        {
            job.Log.Write(job.Write);
        }
        catch (DiskFullException exception)
        {
            job.Group.WriteFoundNoSpace(exception.Message);
            return;
        }

        _metrics.Flushed(job.Write.SizeBytes, Stopwatch.GetElapsedTime(started));
        using var batch = InputBatch.Begin();
        job.Group.WriteCompleted();
    }
}
