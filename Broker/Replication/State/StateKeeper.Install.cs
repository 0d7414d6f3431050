using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <content>
/// A leader's snapshot takes the place of the state. Either of the whole log too, because the leader has nothing older;
/// or the log stays: a part of it cannot be read, and the others have dropped theirs after a purge. The snapshot at the
/// leader's base then holds what came of those entries, and its state is adopted, so that nothing that was acknowledged
/// is given up. The damaged segment goes when this replica drops its log in turn.
/// </content>
internal sealed partial class StateKeeper
{
    /// <summary>
    /// What was asked for comes within seconds, or not at all: then the leader may have dropped more of its log.
    /// </summary>
    private const long SnapshotRetryMs = 5_000;

    private Stage _stage;
    private Install? _install; // null while Applying
    private long? _snapshotWantedAtMs;

    /// <summary>
    /// Applying → Storing, by <see cref="BeginInstall"/> or <see cref="BeginAdopting"/>.
    /// Storing → Applying, when the snapshot is on the disk (<see cref="FinishInstall"/>); by way of WaitingForIndex,
    /// if an index file is being written at that moment.
    /// Storing, WaitingForIndex → Storing, by <see cref="BeginInstall"/>: Raft has a newer snapshot.
    /// </summary>
    private enum Stage
    {
        /// <summary>Entries are applied as they commit.</summary>
        Applying,

        /// <summary>
        /// A snapshot is on its way to the disk, by the log writer with the log, or by the background beside it.
        /// Nothing is applied.
        /// </summary>
        Storing,

        /// <summary>It is there, but the background reads the old state, for an index file.</summary>
        WaitingForIndex,
    }

    /// <summary>
    /// Raft has a snapshot that has arrived take the place of the whole log. It is installed when the log is replaced
    /// on the disk: see <see cref="FinishInstall"/>.
    /// </summary>
    public void BeginInstall(StateSnapshot snapshot)
    {
        Invariant.Check(snapshot.Position.Index > _applied, "a snapshot never takes back what was applied");
        _install?.Done?.Invoke(false, _loop.Raft.Term.Value);
        Enter(Stage.Storing, new Install(snapshot));
        _reader.ForgetAhead();
        ReplicationEvents.Installing(
            _logger, _loop.Id.Value, snapshot.Position.Index.Value, snapshot.Data.Length);
    }

    /// <summary>
    /// A leader's snapshot was stepped. Done is called with whether it is in use, or was not needed, at once or when
    /// that is known.
    /// </summary>
    public void TakeSnapshot(RaftMessage message, StateSnapshot snapshot, Action<bool, long> done)
    {
        if (_install is { } install && install.Snapshot.Position == snapshot.Position)
        {
            install.Done?.Invoke(false, _loop.Raft.Term.Value);
            install.Done = done;
        }
        else if (CanAdopt(message))
        {
            BeginAdopting(snapshot, done);
        }
        else
        {
            var raft = _loop.Raft;
            done(message.Term == raft.Term && raft.CommitIndex >= snapshot.Position.Index, raft.Term.Value);
        }
    }

    /// <summary>The snapshot is on the disk, and the log is as it wants it: now the state is replaced.</summary>
    public void FinishInstall(StateSnapshot snapshot)
    {
        if (_install?.Snapshot != snapshot)
        {
            // A newer one is on its way.
            return;
        }

        if (_indexes.IsWriting)
        {
            // The background reads the old state: the new one waits until it has done so.
            Enter(Stage.WaitingForIndex, _install);
            return;
        }

        RestoreState(snapshot);
        if (_install.KeepsLog)
        {
            // The log can be dropped only at the end of a segment, where this snapshot may not be: the next one shall.
            _snapshots.WantSoon();
        }
        else
        {
            _snapshots.ReplaceAll(_applied);
            _indexes.ForgetFound();
        }

        var done = _install.Done;
        Enter(Stage.Applying, null);
        _seals.Look(_applied);
        ReplicationEvents.Installed(_logger, _loop.Id.Value, _applied.Value);
        done?.Invoke(true, _loop.Raft.Term.Value);
    }

    private void Enter(Stage stage, Install? install)
    {
        Invariant.Check(
            (stage == Stage.Applying) == (install is null), "nothing is applied exactly while a snapshot is under way");
        (_stage, _install) = (stage, install);
    }

    private void FinishWaitingInstall()
    {
        if (_stage == Stage.WaitingForIndex)
        {
            FinishInstall(_install!.Snapshot);
        }
    }

    /// <summary>From now on the state is that of the snapshot, and apply goes on behind it.</summary>
    private void RestoreState(StateSnapshot snapshot)
    {
        try
        {
            _machine.Restore(snapshot.Data.Span);
        }
        catch (InvalidDataException malformed)
        {
            throw new InvariantException(
                $"The leader's snapshot of group {_loop.Id} at {snapshot.Position} cannot be read: {malformed.Message} "
                + "Run the same release on all nodes.");
        }

        Invariant.Check(snapshot.Position.Index > _applied, "a snapshot never takes back what was applied");
        _entries.NoteTimestamp(_machine.LastTimestampUnixMs);
        _applied = snapshot.Position.Index;
        _configuration = snapshot.Configuration;
        _indexes.Clear();
        _seals.Restart(_applied);
        _snapshots.NoteRestored(snapshot.Data.Length);
        _reader.Unblock();
        _loop.ConditionChanged();
    }

    private void ConsiderAskingForSnapshot(long now)
    {
        if (!IsBlocked || _stage != Stage.Applying)
        {
            _snapshotWantedAtMs = null;
            return;
        }

        _snapshotWantedAtMs ??= now + ApplyReader.RetryMs;
        if (now >= _snapshotWantedAtMs)
        {
            _snapshotWantedAtMs = now + SnapshotRetryMs;
            ReplicationEvents.AskingForSnapshot(_logger, _loop.Id.Value, _applied.Value);
            _loop.Raft.RequestSnapshot(_applied);
        }
    }

    /// <summary>
    /// The snapshot that was just stepped is one of entries that this replica holds and knows to be committed, so its
    /// state is what applying them gives (State Machine Safety, Raft thesis 3.6.3). While they can be applied they are:
    /// an own state knows where its messages are.
    /// </summary>
    private bool CanAdopt(RaftMessage message)
    {
        var raft = _loop.Raft;
        var isWanted = IsBlocked && _stage == Stage.Applying && message.LogIndex > _applied;
        if (!isWanted || message.Term != raft.Term || message.LogIndex > raft.CommitIndex)
        {
            return false;
        }

        Invariant.Check(
            raft.TermAt(message.LogIndex) == message.LogTerm, "a leader's snapshot is one of what has committed");
        return true;
    }

    /// <summary>Nothing is applied until the background has written the file.</summary>
    private void BeginAdopting(StateSnapshot snapshot, Action<bool, long> done)
    {
        Enter(Stage.Storing, new Install(snapshot, KeepsLog: true) { Done = done });
        _reader.ForgetAhead();
        ReplicationEvents.Adopting(_logger, _loop.Id.Value, snapshot.Position.Index.Value, snapshot.Data.Length);
        _background.Run(() =>
        {
            var failure = GroupBackground.Attempt(() => _log.Snapshots.Write(
                snapshot.Position, snapshot.Configuration, snapshot.Data.Span));
            _loop.Resume(() =>
            {
                _snapshots.TakeAdopted(snapshot.Position.Index, failure);
                FinishInstall(snapshot);
            });
        });
    }

    /// <param name="Snapshot">What takes the place of the state.</param>
    /// <param name="KeepsLog">It stands for entries of this log, which stays as it is.</param>
    private sealed record Install(StateSnapshot Snapshot, bool KeepsLog = false)
    {
        public Action<bool, long>? Done { get; set; }
    }
}
