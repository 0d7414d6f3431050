using Broker.Domain;

namespace Broker.Consensus;

/// <content>What is durable, what is on its way to the disk, and what waits for it.</content>
public sealed partial class RaftNode
{
    private readonly Outbox _outbox;
    private readonly DiskProgress _disk;

    /// <summary>This replica's own log is durable up to here.</summary>
    public LogIndex FlushedIndex => _disk.FlushedIndex;

    private bool HasWorkToPersist => _damage.FenceChanged || _disk.HasWork(_log.LastIndex);

    /// <summary>
    /// Everything that was to be persisted up to and including the Ready of this sequence is durable.
    /// </summary>
    public void Persisted(long sequence)
    {
        if (!_disk.TryPersist(sequence))
        {
            return;
        }

        _outbox.Release(sequence);
        if (FlushedIndex >= _log.BaseIndex)
        {
            // A snapshot from the leader is on the disk: all that it holds is committed.
            _commitIndex = LogIndex.Max(_commitIndex, _log.BaseIndex);
        }

        if (Role == RaftRole.Leader)
        {
            TryCommit();
        }
        else
        {
            CountOwnVote();
            AcknowledgeFlushed();
            CommitAsFollower();
        }
    }

    private void Send(in RaftMessage message) => _outbox.Send(message);

    private RaftMessage MessageTo(NodeId node, RaftMessageKind kind) =>
        new() { Kind = kind, From = Id, To = node, Term = Term };

    /// <summary>Removes entries that the leader's log contradicts.</summary>
    private void Truncate(LogIndex from)
    {
        Invariant.Check(from > _commitIndex, "a committed entry is never removed");
        Invariant.Check(from > _verifiedIndex, "an entry that agrees with the leader's is never removed");
        Invariant.Check(Role != RaftRole.Leader, "a leader only appends");
        _log.TruncateFrom(from);
        _disk.TruncateFrom(from);
        _configurations.TruncateFrom(from);
    }

    private void TakeWhatToPersist()
    {
        var hasWork = HasWorkToPersist;
        _ready.HardState = _disk.HardStateChanged ? new HardState(Term, VotedFor, _damage.PassiveUntil) : null;
        _ready.Fence = _damage.TakeFenceChange();
        _configurations.TakeInto(_ready, hasWork);
        _disk.TakeInto(_ready, _log.LastIndex, hasWork);
    }
}
