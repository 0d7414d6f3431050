namespace Broker.Domain;

/// <summary>
/// What a replica must have on disk before it reveals it: its term and its vote (Raft thesis, figure 3.1).
/// </summary>
public readonly record struct HardState(Term Term, NodeId VotedFor);

/// <summary>A run of consecutive entries of one term that begins at First and ends before the next run.</summary>
public readonly record struct TermRun(LogIndex First, Term Term);
