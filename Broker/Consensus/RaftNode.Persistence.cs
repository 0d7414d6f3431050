using Broker.Domain;

namespace Broker.Consensus;

/// <content>What is durable, what is on its way to the disk, and what waits for it.</content>
public sealed partial class RaftNode
{
    /// <summary>
    /// Messages held back while a term or vote is on its way to the disk. A stalled disk collects a few a heartbeat;
    /// beyond the bound the newest are dropped, as a network might.
    /// </summary>
    internal const int MaxHeldMessages = 1024;

    /// <summary>Writes under way, oldest first: which Ready, and the last entry that it makes durable.</summary>
    private readonly List<(long Sequence, LogIndex Last)> _pendingPersists = [];

    private readonly Queue<(long Sequence, RaftMessage Message)> _held = new();

    /// <summary>The sequence of the last Ready that had something to persist.</summary>
    private long _takenSequence;

    private long _persistedSequence;

    /// <summary>The current term and vote are durable once this sequence is.</summary>
    private long _hardStateSequence;

    /// <summary>Term or vote changed since the last Ready.</summary>
    private bool _hardStateChanged;

    /// <summary>The first entry that no Ready has named for appending.</summary>
    private LogIndex _unstableFirst;

    /// <summary>From where on entries that an earlier Ready named must go.</summary>
    private LogIndex? _truncateFrom;

    private LogIndex? _noop;

    private bool HasWorkToPersist =>
        _hardStateChanged || _fenceChanged || _snapshot is not null || _truncateFrom is not null
        || _unstableFirst <= _log.LastIndex;

    private bool IsHardStateDurable => _hardStateSequence <= _persistedSequence;

    /// <summary>
    /// Everything that was to be persisted up to and including the Ready of this sequence is durable.
    /// </summary>
    public void Persisted(long sequence)
    {
        Invariant.Check(sequence <= _takenSequence, "only what was handed out can be persisted");
        if (sequence <= _persistedSequence)
        {
            return;
        }

        _persistedSequence = sequence;
        var done = 0;
        while (done < _pendingPersists.Count && _pendingPersists[done].Sequence <= sequence)
        {
            FlushedIndex = LogIndex.Max(FlushedIndex, _pendingPersists[done].Last);
            done++;
        }

        _pendingPersists.RemoveRange(0, done);
        Invariant.Check(FlushedIndex < _unstableFirst, "only entries that were handed out are durable");
        while (_held.TryPeek(out var held) && held.Sequence <= sequence)
        {
            _outbox.Add(_held.Dequeue().Message);
        }

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

    /// <summary>
    /// Sends a message, after the term and vote that it may reveal are durable (Raft thesis 3.8). A leader's are
    /// durable already, so that its entries leave in parallel with its own write (10.2.1).
    /// </summary>
    private void Send(in RaftMessage message)
    {
        if (IsHardStateDurable)
        {
            _outbox.Add(message);
        }
        else if (_held.Count < MaxHeldMessages)
        {
            _held.Enqueue((_hardStateSequence, message));
        }
    }

    private void MarkHardStateChanged()
    {
        _hardStateChanged = true;
        _hardStateSequence = _takenSequence + 1;
    }

    /// <summary>
    /// Removes entries that the leader's log contradicts. A write of them that is still under way will report success
    /// later; it must then not count for the entries that took their place.
    /// </summary>
    private void Truncate(LogIndex from)
    {
        Invariant.Check(from > _commitIndex, "a committed entry is never removed");
        Invariant.Check(from > _verifiedIndex, "an entry that agrees with the leader's is never removed");
        Invariant.Check(Role != RaftRole.Leader, "a leader only appends");
        _log.TruncateFrom(from);
        if (from < _unstableFirst)
        {
            _truncateFrom = _truncateFrom is { } earlier ? LogIndex.Min(earlier, from) : from;
            _unstableFirst = from;
        }

        var last = from.Previous();
        FlushedIndex = LogIndex.Min(FlushedIndex, last);
        for (var i = 0; i < _pendingPersists.Count; i++)
        {
            var pending = _pendingPersists[i];
            _pendingPersists[i] = pending with { Last = LogIndex.Min(pending.Last, last) };
        }

        if (_noop >= from)
        {
            _noop = null;
        }

        TruncateConfigurations(from);
    }

    private void TakeWhatToPersist()
    {
        var last = _log.LastIndex;
        var hasWork = HasWorkToPersist;
        var makesDurable = _unstableFirst <= last || _snapshot is not null;
        _ready.HardState = _hardStateChanged ? new HardState(Term, VotedFor, _passiveUntil) : null;
        _ready.Fence = _fenceChanged ? _fence : null;
        _ready.Snapshot = _snapshot;
        TakeConfigurationToPersist(hasWork);
        _ready.TruncateFrom = _truncateFrom;
        _ready.AppendFirst = _unstableFirst;
        _ready.AppendLast = last;
        _ready.Noop = _noop;
        _ready.PersistSequence = hasWork ? ++_takenSequence : 0;
        if (hasWork)
        {
            _pendingPersists.Add((_takenSequence, makesDurable ? last : LogIndex.None));
        }

        Invariant.Check(_hardStateSequence <= _takenSequence, "a new term or vote is in the next Ready");
        _hardStateChanged = false;
        _fenceChanged = false;
        _snapshot = null;
        _truncateFrom = null;
        _noop = null;
        _unstableFirst = last.Next();
    }
}
