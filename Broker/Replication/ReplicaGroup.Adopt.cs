using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Going on without entries that nobody has any more: a part of this log cannot be read, and the others have dropped
/// theirs after a purge. The snapshot at the leader's base holds what came of those entries; its state is adopted, and
/// the log stays as it is, so that nothing that was acknowledged is given up. The damaged segment goes when this
/// replica drops its log in turn.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>
    /// What was asked for comes within seconds, or not at all: then the leader may have dropped more of its log.
    /// </summary>
    private const long SnapshotRetryMs = 5_000;

    private long? _snapshotWantedAtMs;

    private void ConsiderAskingForSnapshot(long now)
    {
        if (!IsApplyBlocked || _installing is not null)
        {
            _snapshotWantedAtMs = null;
            return;
        }

        _snapshotWantedAtMs ??= now + ApplyRetryMs;
        if (now >= _snapshotWantedAtMs)
        {
            _snapshotWantedAtMs = now + SnapshotRetryMs;
            ReplicationEvents.AskingForSnapshot(_logger, Id.Value, _applied.Value);
            _raft.RequestSnapshot(_applied);
        }
    }

    /// <summary>
    /// The snapshot that was just stepped is one of entries that this replica holds and knows to be committed, so its
    /// state is what applying them gives (State Machine Safety, Raft thesis 3.6.3). While they can be applied they are:
    /// an own state knows where its messages are.
    /// </summary>
    private bool CanAdopt(RaftMessage message)
    {
        var isWanted = IsApplyBlocked && _installing is null && message.LogIndex > _applied;
        if (!isWanted || message.Term != _raft.Term || message.LogIndex > _raft.CommitIndex)
        {
            return false;
        }

        Invariant.Check(
            _raft.TermAt(message.LogIndex) == message.LogTerm, "a leader's snapshot is one of what has committed");
        return true;
    }

    /// <summary>Nothing is applied until the background has written the file.</summary>
    private void StartAdopting(StateSnapshot snapshot, Action<bool, long> done)
    {
        _installing = new Install(snapshot, KeepsLog: true) { Done = done };
        _readAhead.Clear();
        ReplicationEvents.Adopting(_logger, Id.Value, snapshot.Position.Index.Value, snapshot.Data.Length);
        RunInBackground(() =>
        {
            var failure = Attempt(() => _log.Snapshots.Write(
                snapshot.Position, snapshot.Configuration, snapshot.Data.Span));
            Resume(() => FinishAdopting(snapshot, failure));
        });
    }

    /// <summary>Without the file the state is as good: the next start asks again.</summary>
    private void FinishAdopting(StateSnapshot snapshot, string? failure)
    {
        var index = snapshot.Position.Index;
        if (failure is not null)
        {
            ReplicationEvents.SnapshotNotWritten(_logger, Id.Value, index.Value, failure);
        }
        else if (index > _raft.BaseIndex)
        {
            AddSnapshot(index);
        }
        else
        {
            // The leader's next one has taken the place of the whole log meanwhile.
            RunInBackground(() => _log.Snapshots.DeleteBelow(_raft.BaseIndex));
        }

        FinishInstall(snapshot);
    }
}
