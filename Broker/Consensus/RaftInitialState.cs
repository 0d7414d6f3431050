using Broker.Domain;

namespace Broker.Consensus;

/// <summary>What a replica recovered from its disk. All of it counts as durable.</summary>
public sealed class RaftInitialState
{
    public HardState HardState { get; init; }

    /// <summary>The entry before the log's first: there is a snapshot of exactly it. None: the log begins at
    /// 1.</summary>
    public LogPosition Base { get; init; }

    /// <summary>The last entry; the base's index when there is none.</summary>
    public LogIndex LastIndex { get; init; }

    /// <summary>The terms of entries Base+1 .. LastIndex, first run first. Copied.</summary>
    public IReadOnlyList<TermRun> TermRuns { get; init; } = [];

    /// <summary>
    /// Known to be committed: the snapshot that was restored. What lies below the base counts as the base.
    /// </summary>
    public LogIndex CommitIndex { get; init; }

    /// <summary>
    /// The latest configuration that was persisted. Null: the group still has the one that it began with, which
    /// <see cref="RaftOptions.Voters"/> names; or nobody, for a replica that has lost what it knew.
    /// </summary>
    public GroupConfiguration? Configuration { get; init; }

    /// <summary>The one before it, which holds when the log does not reach to the latest.</summary>
    public GroupConfiguration? PreviousConfiguration { get; init; }

    /// <summary>
    /// The last position that this replica may have acknowledged, when its log lost its end to damage; none otherwise.
    /// </summary>
    public LogPosition Fence { get; init; }

    /// <summary>
    /// This replica led the term of its last entry, and its disk has lost nothing since. Default false: that is not
    /// known.
    /// </summary>
    public bool HasLedLastTerm { get; init; }

    /// <summary>
    /// What the last write before a crash held, when it looks as if it had never returned: damage of it looks alike.
    /// None otherwise.
    /// </summary>
    public LogPosition Doubt { get; init; }
}
