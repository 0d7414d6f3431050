namespace Broker.Domain;

/// <summary>
/// What a replica must have on disk before it reveals it: its term and its vote (Raft thesis, figure 3.1).
/// </summary>
/// <param name="Term">The latest term that it has seen.</param>
/// <param name="VotedFor">Whom it voted for in that term.</param>
/// <param name="PassiveUntil">
/// A replica that has lost its vote may have promised what it no longer knows. It neither votes nor campaigns until its
/// log holds a configuration of this index or a later one, which made it a member anew. 0: it has lost nothing. <see
/// cref="Lost"/>: it has not been made a member again yet.
/// </param>
public readonly record struct HardState(Term Term, NodeId VotedFor, LogIndex PassiveUntil = default)
{
    /// <summary>What a replica begins with that has lost its disk or its vote.</summary>
    public static readonly HardState Lost = new(Term.None, NodeId.None, new LogIndex(long.MaxValue));

    public bool IsLost => PassiveUntil == Lost.PassiveUntil;
}

/// <summary>A run of consecutive entries of one term that begins at First and ends before the next run.</summary>
public readonly record struct TermRun(LogIndex First, Term Term);
