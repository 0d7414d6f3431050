using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// Which change of membership a leader may make at this moment: one node at a time (Raft thesis 4.1), new nodes as
/// learners first (4.2.1).
/// </summary>
/// <param name="followers">What the leader knows of the members in force.</param>
/// <param name="commitIndex">What has committed.</param>
/// <param name="hasCommittedInTerm">An entry of this leader's term has.</param>
/// <param name="nowMs">Whoever answered lately by now, answers.</param>
internal readonly struct MembershipRules(
    FollowerTable followers, LogIndex commitIndex, bool hasCommittedInTerm, long nowMs)
{
    private GroupConfiguration Current => followers.Configuration;

    /// <summary>
    /// The configuration that follows the one in force. Refused unless the change before has committed, and an entry of
    /// this leader's term has: otherwise two leaders could each go one step from the same configuration, and their
    /// majorities need not overlap (Raft thesis 4.1, and Ongaro's correction to it of July 2015).
    /// </summary>
    /// <param name="change">What becomes of whom.</param>
    /// <param name="at">The index of the entry that brings it.</param>
    /// <param name="next">What follows; the one in force when the change is refused.</param>
    public ProposeResult Apply(MembershipChange change, LogIndex at, out GroupConfiguration next)
    {
        next = Current;
        if (!hasCommittedInTerm)
        {
            return ProposeResult.NotReady;
        }

        if (Current.Index > commitIndex)
        {
            return ProposeResult.ChangeInProgress;
        }

        if (After(change, at) is not { } allowed)
        {
            return ProposeResult.InvalidChange;
        }

        next = allowed;
        return ProposeResult.Accepted;
    }

    private GroupConfiguration? After(MembershipChange change, LogIndex at)
    {
        var voters = Current.Voters;
        var learners = Current.Learners;
        var node = change.Node;
        return change.Kind switch
        {
            MembershipChangeKind.AddLearner when CanAddLearner(node) =>
                new GroupConfiguration(at, voters, learners.Remove(node).Add(node)),
            MembershipChangeKind.Promote when CanPromote(node) =>
                new GroupConfiguration(at, voters.Add(node), learners.Remove(node)),
            MembershipChangeKind.Remove when CanRemove(node) =>
                new GroupConfiguration(at, voters.Remove(node), learners.Remove(node)),
            _ => null,
        };
    }

    /// <summary>A node that is no member yet; or a learner that lost its log, which is made one anew.</summary>
    private bool CanAddLearner(NodeId node)
    {
        if (Current.IsLearner(node))
        {
            return followers.Find(node)!.AwaitsChange;
        }

        var members = Current.Voters.Length + Current.Learners.Length;
        return node.Value > 0 && node != followers.Leader && !Current.IsVoter(node)
            && members < GroupConfiguration.MaxMembers;
    }

    private bool CanPromote(NodeId node) =>
        Current.IsLearner(node) && followers.Find(node) is { IsHollow: false } learner
        && followers.IsCaughtUp(learner, nowMs);

    /// <summary>
    /// A voter goes only when a majority of those that remain answer and have lost nothing: the change itself needs
    /// them, and could not be undone without them.
    /// </summary>
    private bool CanRemove(NodeId node) =>
        Current.IsVoter(node) ? followers.HearsMajorityWithout(node, nowMs) : Current.IsLearner(node);
}
