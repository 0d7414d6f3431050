namespace Broker.Tests.Benchmarks.Peer;

/// <summary>Three processes that keep a replicated log, with clients in this process.</summary>
internal interface IReplicatedLog : IAsyncDisposable
{
    /// <summary>Publishes for so long and tells how fast: rates and counts of records, latencies of calls.</summary>
    Task<LoadResult> LoadAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken);

    /// <summary>Publishes one at a time, kills the leader with kill -9 meanwhile, and starts it again.</summary>
    Task<LoadResult> FailoverAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Publishes numbered records, kills all three processes with kill -9 under that load, starts them again, and looks
    /// for every record whose publish was answered. The process that led comes back last, when the other two have a
    /// leader: an acknowledged record is in any majority (Raft thesis 3.6.3), so they must have all of them.
    /// </summary>
    Task<KillResult> KillAllAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken);
}

/// <summary>One shape of load.</summary>
/// <param name="Name">For --only and for the table.</param>
/// <param name="RecordsPerEntry">Records that travel and are stored together.</param>
/// <param name="Window">Entries unanswered at a time.</param>
internal sealed record LogLoad(string Name, int RecordsPerEntry, int Window)
{
    public const int RecordBytes = 128;

    public static readonly LogLoad Batched = new("batched", 128, 16);
    public static readonly LogLoad Unanswered = new("unanswered", 1, 1_024);
    public static readonly LogLoad Single = new("single", 1, 1);

    public LoadSettings Settings(IReadOnlyList<Uri> addresses, string topic, TimeSpan duration) => new()
    {
        Addresses = addresses,
        Topics = [topic],
        SizeBytes = RecordBytes,
        Window = Window,
        Duration = duration,
    };
}

/// <summary>Records that were acknowledged before the kill, and those of them that were not there after it.</summary>
internal readonly record struct KillResult(long Acknowledged, long Gone);
