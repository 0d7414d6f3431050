namespace Broker.Tests.Simulation;

/// <summary>Which seeds to run, and how.</summary>
internal sealed record SeedOptions
{
    public required int First { get; init; }

    public required int Count { get; init; }

    /// <summary>Steps with faults in each seed; then all heals.</summary>
    public required long Steps { get; init; }

    /// <summary>Null: by turns.</summary>
    public NodeKind? Kind { get; init; }

    /// <summary>Seeds that run at the same time. It changes nothing but the time that they take.</summary>
    public required int Jobs { get; init; }

    /// <summary>No seed is begun after this; null: no limit.</summary>
    public TimeSpan? TimeLimit { get; init; }

    /// <summary>Ends with the first seed that fails, the lowest of them.</summary>
    public bool StopsAtFailure { get; init; }

    /// <summary>Prints everything that happens.</summary>
    public bool IsTraced { get; init; }

    /// <summary>Half of the seeds test Raft alone, half of them everything below the API.</summary>
    public NodeKind KindOf(int seed) => Kind ?? (seed % 2 == 0 ? NodeKind.Core : NodeKind.Replica);
}
