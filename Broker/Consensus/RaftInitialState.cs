using Broker.Domain;

namespace Broker.Consensus;

/// <summary>What a replica recovered from its disk. All of it counts as durable. The log begins at index 1.</summary>
public sealed class RaftInitialState
{
    public HardState HardState { get; init; }

    public LogIndex LastIndex { get; init; }

    /// <summary>The terms of entries 1 .. LastIndex, first run first. Copied.</summary>
    public IReadOnlyList<TermRun> TermRuns { get; init; } = [];
}
