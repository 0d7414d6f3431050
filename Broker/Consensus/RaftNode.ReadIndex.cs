namespace Broker.Consensus;

/// <content>Linearizable reads without a log entry (Raft thesis 6.4).</content>
public sealed partial class RaftNode
{
    private readonly ReadRounds _reads = new();

    /// <summary>
    /// A new leader knows which entries are committed only once one of its own term is (Raft thesis 6.4, step 1).
    /// </summary>
    private bool HasCommittedInTerm => _log.TermAt(_commitIndex) == Term;

    /// <summary>
    /// Asks which index a state machine must have applied to show every write that was acknowledged before now. The
    /// answer comes in <see cref="Ready.Reads"/>, after a majority has confirmed that this replica still leads; reads
    /// that come while one round of heartbeats is under way share the next. False: this replica does not lead, or not
    /// yet for certain, or too many reads wait.
    /// </summary>
    public bool TryReadIndex(long context)
    {
        if (Role != RaftRole.Leader || !HasCommittedInTerm || _reads.WaitingCount >= _options.MaxPendingReads)
        {
            return false;
        }

        if (IsOnlyVoter)
        {
            _reads.Answer(context, _commitIndex);
            return true;
        }

        _reads.Add(context, _commitIndex);
        return true;
    }

    private void BeginReadRoundWhenDue()
    {
        if (!_reads.IsDue)
        {
            return;
        }

        _reads.Begin();
        foreach (var follower in _followers)
        {
            if (follower.IsVoter)
            {
                _sender.SendHeartbeat(follower, _reads.Begun, AreMembersSure, AsLeader);
            }
        }

        // A change of membership may have left nobody to ask.
        ReleaseConfirmedReads();
    }

    /// <summary>The heartbeats that are about to leave confirm whatever waits: earlier ones may be lost.</summary>
    private void BeginReadRoundWhenWaiting()
    {
        ReleaseConfirmedReads();
        if (_reads.WaitingCount > 0)
        {
            _reads.Begin();
        }
    }

    private void ConfirmReads(Follower follower, long round)
    {
        // The answer may have been on its way since this follower was a learner: then it is no round.
        if (follower.IsVoter && round <= _reads.Begun && round > follower.ConfirmedRound)
        {
            follower.ConfirmedRound = round;
            ReleaseConfirmedReads();
        }
    }

    private void ReleaseConfirmedReads()
    {
        if (_reads.WaitingCount > 0)
        {
            _reads.Confirm(_followers.RoundOfMajority(_reads.Begun));
        }
    }
}
