using Broker.Domain;

namespace Broker.Cluster;

/// <summary>
/// Whether a group can still elect a leader, by what its replicas have lost: a replica that is away may be well, so it
/// counts as one that could lead and would vote for any.
/// </summary>
public static class QuorumJudge
{
    /// <summary>Null: a leader can be elected, or is there. Else what is wrong, in words for the operator.</summary>
    /// <param name="group">The group.</param>
    /// <param name="replicas">One of each node; those that are away too.</param>
    /// <param name="nameOf">What service discovery knows a node by.</param>
    public static QuorumLoss? Judge(
        GroupId group, IReadOnlyList<ReplicaFacts> replicas, Func<NodeId, string> nameOf)
    {
        var members = MembersOf(replicas);
        var voters = replicas.Where(
            replica => members.IsVoter(replica.Node) || members.Voters.Length == 0).ToList();
        if (voters.Count < members.Voters.Length || voters.Exists(HasLeader))
        {
            return null;
        }

        var majority = (voters.Count / 2) + 1;
        foreach (var candidate in voters)
        {
            var couldCampaign = !candidate.Answers || candidate.IsIntact;
            if (couldCampaign && voters.Count(voter => WouldElect(voter, candidate)) >= majority)
            {
                return null;
            }
        }

        return new QuorumLoss(BestOf(voters), Describe(group, voters, nameOf));
    }

    /// <summary>The members by the newest configuration that a replica is known to have.</summary>
    public static GroupConfiguration MembersOf(IReadOnlyList<ReplicaFacts> replicas)
    {
        var newest = GroupConfiguration.None;
        foreach (var replica in replicas)
        {
            var isNewer = replica.Members.Index > newest.Index || newest.Voters.Length == 0;
            newest = replica.Members.Voters.Length > 0 && isNewer ? replica.Members : newest;
        }

        return newest;
    }

    /// <summary>
    /// The one from which the group should go on: it has most of all that answer; among equals one that has lost
    /// nothing. None: all have lost everything.
    /// </summary>
    public static NodeId BestOf(IEnumerable<ReplicaFacts> replicas) => replicas
        .Where(static replica => replica is { Answers: true, IsLost: false, IsPassive: false })
        .OrderByDescending(static replica => replica.Last)
        .ThenByDescending(static replica => replica.IsIntact)
        .ThenBy(static replica => replica.Node.Value)
        .Select(static replica => replica.Node)
        .FirstOrDefault();

    /// <summary>What a replica has, in words for the operator.</summary>
    public static string Describe(ReplicaFacts replica) =>
        !replica.Answers ? "does not answer"
        : replica.IsLost ? "has lost its log or its votes"
        : replica.IsPassive ? $"gives no votes until it has caught up, and has entries through {replica.Last.Index}"
        : replica.IsFenced ? $"has lost the end of its log behind entry {replica.Last.Index}"
        : $"is intact through entry {replica.Last.Index}";

    private static bool HasLeader(ReplicaFacts replica) => !replica.Leader.IsNone;

    /// <summary>
    /// As RaftNode decides, for all that can be told from outside: a candidate that led its last term is elected before
    /// this is asked.
    /// </summary>
    private static bool WouldElect(ReplicaFacts voter, ReplicaFacts candidate)
    {
        if (!voter.Answers || voter == candidate)
        {
            return true;
        }

        return !voter.IsLost && !voter.IsPassive
            && (!candidate.Answers || (candidate.Last >= voter.Last && candidate.Last >= voter.Fence));
    }

    private static string Describe(GroupId group, List<ReplicaFacts> voters, Func<NodeId, string> nameOf)
    {
        var has = string.Join("; ", voters.Select(voter => $"{nameOf(voter.Node)} {Describe(voter)}"));
        var best = BestOf(voters);
        var way = best.IsNone
            ? "No replica that answers has anything left: bring back a disk that has"
            : $"What is stored can be read from {nameOf(best)}. Bring back what was damaged, or have the shard go on "
                + $"from {nameOf(best)} with what that one has, by Admin.ForceRecovery there";
        return $"Shard {group} has lost its quorum, and cannot elect a leader: {has}. {way} (README.md: When most "
            + "replicas of a shard are damaged).";
    }
}

/// <summary>No leader can be elected in a group.</summary>
/// <param name="Best">From whom it should go on; none: nobody has anything left.</param>
/// <param name="What">What is wrong, and what to do, in words for the operator.</param>
public sealed record QuorumLoss(NodeId Best, string What);
