using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// What the state machine begins with after a start: the newest snapshot that can be used; the log after it is then
/// applied like any other entry.
/// </summary>
internal sealed class StateRestore(
    GroupId group, GroupLog log, IStateMachine machine, SnapshotKeeper snapshots, SegmentIndexes indexes,
    ILogger logger)
{
    private readonly IReadOnlyList<SealedSegment> _segments = log.SealedSegments;

    /// <summary>A snapshot is of use only below it.</summary>
    private LogIndex _end;

    /// <summary>The last entry that the state holds; None: it is the initial state.</summary>
    public LogIndex Applied { get; private set; }

    /// <summary>The members as of that entry; null: those that a new group begins with.</summary>
    public GroupConfiguration? Configuration { get; private set; }

    /// <summary>
    /// A snapshot can be used when it is whole, and when all that lies before it can be found without memory: each
    /// sealed segment that it covers has its index file. What is missing is made anew while the log is replayed.
    /// </summary>
    public void Run()
    {
        _end = indexes.Find(_segments);
        if (TryRestoreNewest())
        {
            return;
        }

        if (log.Base.Index == LogIndex.None)
        {
            machine.Restore([]);
            return;
        }

        // The snapshot at the base is damaged, and an index file is missing that only a replay from there could make
        // anew. A later snapshot holds the whole state; what cannot be found without that index is read elsewhere.
        ReplicationEvents.RestoredWithoutIndex(logger, group.Value, _end.Value);
        _end = new LogIndex(long.MaxValue);
        var isRestored = TryRestoreNewest();

        // Storage opens a log with a base only when a snapshot at or above it can be read.
        Invariant.Check(isRestored, "a log that begins after 1 has a snapshot to begin with");
    }

    private bool TryRestoreNewest()
    {
        for (var i = snapshots.OnDisk.Count - 1; i >= 0; i--)
        {
            var index = snapshots.OnDisk[i];
            if (index < log.Base.Index || index > log.LastIndex || index >= _end)
            {
                continue;
            }

            if (!log.Snapshots.TryRead(index, out var snapshot))
            {
                // It stands for nothing: what is thinned, and when the next one is due, goes by those that are whole.
                snapshots.Forget(index);
            }
            else if (TryRestore(snapshot))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// What fails leads to an older snapshot, or to the log from its beginning: they give the same state, it only takes
    /// longer.
    /// </summary>
    private bool TryRestore(StateSnapshot snapshot)
    {
        var at = snapshot.Position.Index;
        try
        {
            machine.Restore(snapshot.Data.Span);
        }
        catch (InvalidDataException failure)
        {
            ReplicationEvents.SnapshotUnusable(logger, group.Value, at.Value, failure.Message);
            return false;
        }

        if (indexes.UseFound(_segments, at) is { } misfit)
        {
            ReplicationEvents.SnapshotUnusable(logger, group.Value, at.Value, misfit.Why);
            indexes.DeleteFound(misfit.First);
            _end = LogIndex.Min(_end, misfit.First);
            return false;
        }

        Applied = at;
        Configuration = snapshot.Configuration;
        ReplicationEvents.Restored(logger, group.Value, at.Value, log.LastIndex - at);
        return true;
    }
}
