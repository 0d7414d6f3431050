using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The configurations in a replica's log that still matter, and what its disk knows of them. The latest holds,
/// committed or not (Raft thesis 4.1).
/// </summary>
internal sealed class LogConfigurations
{
    /// <summary>
    /// The disk does not know the configuration in force. It is told with the next write; of the one that a group
    /// begins with, that is the first term or vote.
    /// </summary>
    private bool _isUnsaved;

    /// <summary>This leader made it, and no Ready has named it.</summary>
    private GroupConfiguration? _appended;

    /// <param name="initial">What the disk knows.</param>
    /// <param name="firstVoters">Those that the group began with.</param>
    public LogConfigurations(RaftInitialState initial, IReadOnlyList<NodeId> firstVoters)
    {
        // What a replica knew of its group is gone with its disk, and the group may have changed since it began.
        var first = initial.HardState.PassiveUntil == LogIndex.None
            ? new GroupConfiguration(LogIndex.None, firstVoters, [])
            : GroupConfiguration.None;
        Latest = initial.Configuration ?? first;
        Previous = initial.PreviousConfiguration;
        _isUnsaved = initial.Configuration is null;
        if (Latest.Index <= initial.LastIndex)
        {
            return;
        }

        if (Previous is not null && Previous.Index <= initial.LastIndex)
        {
            Adopt(Previous, null);
            return;
        }

        // Damage cut the log before both. Which one holds there is not known, and need not be: the replica does not
        // campaign before its log reaches the fence, and on the way there it takes in at least the older of the two,
        // which has committed.
        Invariant.Check(
            initial.Fence != LogPosition.None, "the configuration on disk is at most one ahead of the log on disk");
        Adopt(GroupConfiguration.None, null);
    }

    /// <summary>In force.</summary>
    public GroupConfiguration Latest { get; private set; }

    /// <summary>
    /// The one before it, which holds again when the latest is truncated. One is enough: a leader appends a
    /// configuration only after the one before has committed, and what has committed is never truncated. Null: the
    /// latest cannot be truncated.
    /// </summary>
    public GroupConfiguration? Previous { get; private set; }

    /// <summary>
    /// The disk learns of a configuration before the log does, and remembers two. So the next one waits until the
    /// latest is in the log on the disk; otherwise a crash between the two writes could leave a log that ends before
    /// both, and nothing would tell which configuration holds there.
    /// </summary>
    public bool CanAppend(LogIndex flushedIndex) => Latest.Index <= flushedIndex;

    /// <summary>
    /// Until the configuration without this voter has committed, it may hold the only log that can win the election;
    /// its own vote does not count meanwhile (Raft thesis 4.2.2).
    /// </summary>
    public bool MayStillNeed(NodeId node, LogIndex commitIndex) =>
        Latest.Index > commitIndex && Previous is { } before && before.IsVoter(node);

    /// <summary>Takes one that came with the leader's entries.</summary>
    public void Append(GroupConfiguration next) => Adopt(next, Latest);

    /// <summary>Takes one that this leader made; the next Ready names it.</summary>
    public void AppendOwn(GroupConfiguration next)
    {
        _appended = next;
        Adopt(next, Latest);
    }

    /// <summary>A snapshot replaces the log: its configuration holds, and what was before it is gone.</summary>
    public void ReplaceAll(GroupConfiguration configuration)
    {
        _appended = null;
        Adopt(configuration, null);
    }

    public void TruncateFrom(LogIndex from)
    {
        if (_appended is { } appended && appended.Index >= from)
        {
            _appended = null;
        }

        if (Latest.Index >= from)
        {
            Invariant.Check(
                Previous is not null && Previous.Index < from, "only the latest configuration can be truncated");
            Adopt(Previous, null);
        }
    }

    /// <summary>Names in a Ready what the disk and the log must learn.</summary>
    /// <param name="ready">Gets all of it.</param>
    /// <param name="isWritten">Whether that Ready leads to a write.</param>
    public void TakeInto(Ready ready, bool isWritten)
    {
        var isTold = isWritten && _isUnsaved;
        ready.Configuration = isTold ? Latest : null;
        ready.PreviousConfiguration = isTold ? Previous : null;
        ready.AppendedConfiguration = _appended;
        _appended = null;
        _isUnsaved &= !isTold;
    }

    private void Adopt(GroupConfiguration configuration, GroupConfiguration? previous)
    {
        Invariant.Check(
            previous is null || previous.Index < configuration.Index, "a configuration comes after the one before it");
        Latest = configuration;
        Previous = previous;
        _isUnsaved = true;
    }
}
