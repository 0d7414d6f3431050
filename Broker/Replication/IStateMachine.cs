using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// A group's replicated state: the same entries in the same order give the same state on every replica.
/// </summary>
public interface IStateMachine
{
    /// <summary>
    /// A hash of the whole state, equal on every replica at the same applied index (used by simulation and tests).
    /// </summary>
    ulong StateHash { get; }

    /// <summary>
    /// Applies one committed entry of kind Commands. <paramref name="results"/> has entry.Count slots when a caller
    /// waits for them, or is empty (then results are not wanted). Called by one thread, in log order, each index once
    /// per process life.
    /// </summary>
    void Apply(LogEntry entry, Span<CommandResult> results);
}
