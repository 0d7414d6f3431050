using Broker.Domain;

namespace Broker.Consensus;

/// <content>Linearizable reads without a log entry (Raft thesis 6.4).</content>
public sealed partial class RaftNode
{
    /// <summary>Oldest first. The answers to heartbeats of its round, or of a later one, confirm a read.</summary>
    private readonly Queue<(long Context, LogIndex Index, long Round)> _pendingReads = new();

    /// <summary>What the next Ready tells.</summary>
    private List<ReadResult> _reads = [];

    /// <summary>
    /// The last round of heartbeats that was begun for reads. Below <see cref="FirstLossNumber"/>, as both travel in
    /// the same field.
    /// </summary>
    private long _readRound;

    /// <summary>Reads wait for a round that has not begun, and none is under way.</summary>
    private bool _readRoundDue;

    /// <summary>
    /// A new leader knows which entries are committed only once one of its own term is (Raft thesis 6.4, step 1).
    /// </summary>
    private bool HasCommittedInTerm => _log.TermAt(_commitIndex) == Term;

    /// <summary>0: none.</summary>
    private long ReadRoundUnderWay =>
        _pendingReads.TryPeek(out var oldest) && oldest.Round <= _readRound ? _readRound : 0;

    /// <summary>
    /// Asks which index a state machine must have applied to show every write that was acknowledged before now. The
    /// answer comes in <see cref="Ready.Reads"/>, after a majority has confirmed that this replica still leads; reads
    /// that come while one round of heartbeats is under way share the next. False: this replica does not lead, or not
    /// yet for certain, or too many reads wait.
    /// </summary>
    public bool TryReadIndex(long context)
    {
        if (Role != RaftRole.Leader || !HasCommittedInTerm || _pendingReads.Count >= _options.MaxPendingReads)
        {
            return false;
        }

        if (IsOnlyVoter)
        {
            _reads.Add(new ReadResult(context, _commitIndex, Refused: false));
            return true;
        }

        _readRoundDue |= ReadRoundUnderWay == 0;
        _pendingReads.Enqueue((context, _commitIndex, _readRound + 1));
        return true;
    }

    private void BeginReadRoundWhenDue()
    {
        if (!_readRoundDue)
        {
            return;
        }

        BeginReadRound();
        foreach (var follower in _followers)
        {
            if (follower.IsVoter)
            {
                SendHeartbeat(follower, _readRound);
            }
        }

        // A change of membership may have left nobody to ask.
        ReleaseConfirmedReads();
    }

    /// <summary>The heartbeats that are about to leave confirm whatever waits: earlier ones may be lost.</summary>
    private void BeginReadRoundWhenWaiting()
    {
        ReleaseConfirmedReads();
        if (_pendingReads.Count > 0)
        {
            BeginReadRound();
        }
    }

    private void BeginReadRound()
    {
        _readRound++;
        _readRoundDue = false;
    }

    private void ConfirmReads(Follower follower, long round)
    {
        // The answer may have been on its way since this follower was a learner: then it is no round.
        if (follower.IsVoter && round <= _readRound && round > follower.ConfirmedRound)
        {
            follower.ConfirmedRound = round;
            ReleaseConfirmedReads();
        }
    }

    private void ReleaseConfirmedReads()
    {
        if (_pendingReads.Count == 0)
        {
            return;
        }

        var confirmed = _followers.RoundOfMajority(_readRound);
        while (_pendingReads.TryPeek(out var read) && read.Round <= confirmed)
        {
            _pendingReads.Dequeue();
            _reads.Add(new ReadResult(read.Context, read.Index, Refused: false));
        }

        _readRoundDue = _pendingReads.Count > 0 && ReadRoundUnderWay == 0;
    }

    private void RefuseReads()
    {
        while (_pendingReads.TryDequeue(out var read))
        {
            _reads.Add(new ReadResult(read.Context, LogIndex.None, Refused: true));
        }

        _readRoundDue = false;
    }
}
