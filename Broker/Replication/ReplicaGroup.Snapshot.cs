using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>Snapshots that travel: to a follower that is behind the beginning of the log, and from a leader.</summary>
public sealed partial class ReplicaGroup
{
    /// <summary>The snapshot that takes the log's place, while it is on its way to the disk.</summary>
    private Install? _installing;

    /// <summary>It is on the disk; only the state is still to be replaced.</summary>
    private bool _isInstallWaiting;

    /// <summary>The data that came with the message that is being stepped.</summary>
    private StateSnapshot? _arrived;

    /// <param name="Snapshot">What takes the place of the state.</param>
    /// <param name="KeepsLog">It stands for entries of this log, which stays as it is.</param>
    private sealed record Install(StateSnapshot Snapshot, bool KeepsLog = false)
    {
        public Action<bool, long>? Done { get; set; }
    }

    /// <summary>
    /// The leader's snapshot has arrived whole. Done says whether it is in use (or was not needed), and this replica's
    /// term. Any thread.
    /// </summary>
    public void ReceiveSnapshot(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done) =>
        Resume(() => StepSnapshot(message, data, done));

    private void StepSnapshot(PeerMessage wire, ReadOnlyMemory<byte> data, Action<bool, long> done)
    {
        if (PeerMessageMapper.FromWire(wire, out _)
            is not { Kind: RaftMessageKind.InstallSnapshot, Configurations.Count: 1 } message)
        {
            ReplicationEvents.MessageDropped(_logger, Id.Value, wire.Kind, wire.From);
            done(false, _raft.Term.Value);
            return;
        }

        var position = new LogPosition(message.LogIndex, message.LogTerm);
        _arrived = new StateSnapshot(position, message.Configurations[0], data);
        _raft.Step(message);
        HandleReady(NoEntries);
        _arrived = null;
        if (_installing is { } install && install.Snapshot.Position == position)
        {
            install.Done?.Invoke(false, _raft.Term.Value);
            install.Done = done;
        }
        else if (CanAdopt(message))
        {
            StartAdopting(new StateSnapshot(position, message.Configurations[0], data), done);
        }
        else
        {
            done(message.Term == _raft.Term && _raft.CommitIndex >= position.Index, _raft.Term.Value);
        }
    }

    /// <summary>Raft replaces the whole log: nothing that was gathered for it matters any more.</summary>
    private void GatherSnapshot(LogPosition position)
    {
        Invariant.Check(_arrived?.Position == position, "a snapshot takes the log's place when it has come");
        Invariant.Check(position.Index > _applied, "a snapshot never takes back what was applied");
        _gathering.Entries.Clear();
        _gathering.TruncateFrom = null;
        _gathering.DropThrough = null;
        _gathering.Snapshot = new StateSnapshot(position, _arrived.Configuration, _arrived.Data);
        _installing?.Done?.Invoke(false, _raft.Term.Value);
        _installing = new Install(_gathering.Snapshot);
        _isInstallWaiting = false;
        _handedToWriter = position.Index;
        _tail.Reset(position.Index);
        _timeUnknownThrough = LogIndex.None;
        _readAhead.Clear();
        _dropping = null;
        ReplicationEvents.Installing(_logger, Id.Value, position.Index.Value, _arrived.Data.Length);
    }

    /// <summary>The log and its side files are replaced on disk: now the state is.</summary>
    private void FinishInstall(StateSnapshot snapshot)
    {
        if (_installing?.Snapshot != snapshot)
        {
            // A newer one is on its way.
            return;
        }

        if (_isIndexing)
        {
            // The background reads the old state: the new one waits until it has done so.
            _isInstallWaiting = true;
            return;
        }

        _isInstallWaiting = false;
        RestoreState(snapshot);
        if (_installing.KeepsLog)
        {
            // The log can be dropped only at the end of a segment, where this snapshot may not be: the next one shall.
            _logBytesSinceSnapshot = SnapshotIsDueBytes;
        }
        else
        {
            _snapshots.Clear();
            _foundIndexes.Clear();
            AddSnapshot(_applied);
            _logBytesSinceSnapshot = 0;
        }

        var done = _installing.Done;
        _installing = null;
        LookForSeals();
        ReplicationEvents.Installed(_logger, Id.Value, _applied.Value);
        done?.Invoke(true, _raft.Term.Value);
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
                $"The leader's snapshot of group {Id} at {snapshot.Position} cannot be read: {malformed.Message} "
                + "Run the same release on all nodes.");
        }

        Invariant.Check(snapshot.Position.Index > _applied, "a snapshot never takes back what was applied");
        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, _machine.LastTimestampUnixMs);
        _applied = snapshot.Position.Index;
        _appliedConfiguration = snapshot.Configuration;
        _toIndex.Clear();
        _directoryCrc32Cs.Clear();
        _sealsAhead.Clear();
        _lastSnapshotBytes = snapshot.Data.Length;
        _passedSeal = _applied;
        _sealedThrough = LogIndex.None;
        _applyBlockedUntilMs = 0;
        _conditionIsStale = true;
    }

    /// <summary>Reads the snapshot at the base in the background, then hands it to the transport.</summary>
    private void SendSnapshot(RaftMessage message)
    {
        _snapshotReads++;
        RunInBackground(() =>
        {
            StateSnapshot? snapshot = null;
            var failure = Attempt(() => _log.Snapshots.TryRead(message.LogIndex, out snapshot));
            Resume(() => FinishSnapshotRead(message, snapshot, failure));
        });
    }

    private void FinishSnapshotRead(RaftMessage message, StateSnapshot? snapshot, string? failure)
    {
        _snapshotReads--;
        if (!IsCurrent(message))
        {
            return;
        }

        if (snapshot is null && (message.LogIndex < _raft.BaseIndex || _dropping is not null))
        {
            // The base moves, and the snapshot at the old one goes: that at the new one is what the follower gets.
            _raft.ReportSnapshot(message.To, sent: false);
            return;
        }

        if (snapshot is null)
        {
            ReplicationEvents.SnapshotUnavailable(
                _logger, Id.Value, message.LogIndex.Value, message.To.Value, failure ?? "it is missing or damaged");
            _isBaseUnreadable = true;
            _raft.ReportSnapshot(message.To, sent: false);
            return;
        }

        var wire = PeerMessageMapper.ToWire(Id, message, snapshot.Configuration);
        _sender.SendSnapshot(
            message.To,
            Id,
            wire,
            snapshot.Data,
            sent => Resume(() => _raft.ReportSnapshot(message.To, sent)));
    }
}
