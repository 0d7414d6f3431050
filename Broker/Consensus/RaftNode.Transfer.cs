using Broker.Domain;

namespace Broker.Consensus;

/// <content>Handing leadership to a chosen follower (Raft thesis 3.10).</content>
public sealed partial class RaftNode
{
    private readonly LeadershipTransfer _transfer = new();

    /// <summary>
    /// Begins to hand leadership over: new proposals are refused, the target is caught up, then told to campaign. Given
    /// up after the shortest election timeout. False, and nothing begun: this replica does not lead, hands over
    /// already, or the target is not a follower that answers and is well.
    /// </summary>
    /// <param name="target">Who takes over.</param>
    /// <param name="catchesUp">False: the target campaigns at once, with the log that it has, because this leader
    /// cannot give it the rest. That costs entries that have not committed, and nothing else: whoever is elected has
    /// what has committed (Raft thesis 3.6.1); the catching up serves the transfer to succeed.</param>
    /// <param name="evenHampered">The target may be one that says that others should rather lead. It decides then
    /// whether it can (<see cref="LeadsWhenAsked"/>).</param>
    public bool TryTransferLeadership(NodeId target, bool catchesUp = true, bool evenHampered = false)
    {
        if (Role != RaftRole.Leader || _transfer.IsUnderWay)
        {
            return false;
        }

        var follower = _followers.Find(target);
        if (follower is not { IsVoter: true, Loss: null }
            || (follower.IsHampered && !evenHampered)
            || !_followers.IsRecentlyActive(follower, _nowMs))
        {
            return false;
        }

        _transfer.Begin(target, _nowMs + _times.ElectionMinMs);
        if (catchesUp)
        {
            FinishTransferWhenCaughtUp(follower);
        }
        else
        {
            SendTimeoutNow(follower);
        }

        return true;
    }

    private void FinishTransferWhenCaughtUp(Follower follower)
    {
        if (_transfer.IsTimeToTell(follower, _log.LastIndex))
        {
            SendTimeoutNow(follower);
        }
    }

    private void SendTimeoutNow(Follower follower)
    {
        _transfer.NoteTold();
        Send(MessageTo(follower.Id, RaftMessageKind.TimeoutNow));
    }

    private void HandleTimeoutNow(in RaftMessage message)
    {
        // The order counts from the leader of this very term only: a late one finds a new leader, or none.
        if (Role == RaftRole.Follower && Leader == message.From && CanCampaign && (!IsHampered || LeadsWhenAsked))
        {
            _isTransferCampaign = true;
            BecomeCandidate();
        }
    }
}
