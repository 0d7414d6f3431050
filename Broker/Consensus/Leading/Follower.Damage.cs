using Broker.Domain;

namespace Broker.Consensus;

/// <content>What a follower said of its disk: that it lost its log, its end, or cannot be written.</content>
internal sealed partial class Follower
{
    /// <summary>The configuration by which this leader made it a learner; none when an earlier one did.</summary>
    public LogIndex LearnerSince { get; set; }

    /// <summary>It has lost its log and has not accepted that it is a learner anew.</summary>
    public ReplicaLoss? Loss { get; set; }

    /// <summary>Names the fence that it told of last; 0 when it knows what it wanted to know.</summary>
    public long FenceNumber { get; private set; }

    /// <summary>The leader's last entry when it heard of that fence.</summary>
    public LogIndex FenceEnd { get; private set; }

    /// <summary>It said of itself that it cannot write or apply.</summary>
    public bool IsHampered { get; set; }

    /// <summary>
    /// The number by which it said that it does not keep all that the entries say; 0: it does. Null, of a learner: it
    /// has not said yet, and may be hollow.
    /// </summary>
    public long? Hollow { get; set; }

    public bool IsHollow => Hollow != 0;

    /// <summary>It takes part again only after a change of membership.</summary>
    public bool AwaitsChange => Loss is { } loss && (IsVoter || LearnerSince <= loss.HeardAt);

    /// <summary>Its log is gone: what it acknowledged counts no more.</summary>
    public void Lose(ReplicaLoss loss)
    {
        Loss = loss;
        ForgetMatch(loss.HeardAt.Next());
    }

    /// <summary>
    /// The follower gives back the number of its loss without complaint: it is passive, on its disk. True: it is sent
    /// the log from now on.
    /// </summary>
    public bool TryEndLoss(long number, LogIndex lastIndex)
    {
        if (Loss is not { } loss || number != loss.Number)
        {
            return false;
        }

        loss.IsOver = true;
        Loss = null;
        ForgetMatch(lastIndex.Next());
        return true;
    }

    /// <summary>
    /// Only an answer that names the fence was sent after the follower's start: whatever it had acknowledged before is
    /// in the leader's log by now.
    /// </summary>
    public void HearOfFence(long number, LogIndex lastIndex)
    {
        if (FenceNumber != number)
        {
            FenceNumber = number;
            FenceEnd = lastIndex;
        }
    }

    /// <summary>The follower knows what it wanted to know of its fence.</summary>
    public void ForgetFence() => FenceNumber = 0;

    /// <summary>
    /// What a heartbeat tells it beside the commit index: that it is a learner anew, as soon as that has committed;
    /// what the leader had when it heard of its fence; or nothing but the round of reads.
    /// </summary>
    public (LogIndex LearnerSince, long Context) ToTell(LogIndex commitIndex, long readRound)
    {
        if (Loss is { } loss && !AwaitsChange && LearnerSince <= commitIndex)
        {
            return (LearnerSince, loss.Number);
        }

        return FenceNumber != 0 ? (FenceEnd, FenceNumber) : (LogIndex.None, readRound);
    }
}
