using System.Collections.Immutable;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Cluster;

/// <summary>
/// What follows from the members of the cluster for its groups: who should vote in each. A node comes into one group
/// after another and leaves them so, the metadata group first and last: it then knows what becomes of it all the while,
/// and one group at a time is busy with it. One that was evicted only receives the log of the metadata group: that is
/// where it is heard when it is back, and where it hears what became of it.
/// </summary>
/// <param name="members">Who belongs to the cluster.</param>
/// <param name="groups">The configuration of each group, as far as its replica here knows it.</param>
internal readonly struct MembershipPlan(ClusterMembers members, IReadOnlyList<GroupConfiguration> groups)
{
    /// <summary>Those that should belong to a group now.</summary>
    /// <param name="at">The place of the group among the groups.</param>
    public DesiredMembers MembersOf(int at) => new(VotersOf(at), LearnersOf(at));

    /// <summary>Those that should vote in a group now.</summary>
    /// <param name="at">The place of the group among the groups.</param>
    public IReadOnlyList<NodeId> VotersOf(int at)
    {
        if (!members.IsKnown)
        {
            return groups[at].Voters;
        }

        var voters = ImmutableArray.CreateBuilder<NodeId>(members.Nodes.Count);
        foreach (var member in members.Nodes.Values)
        {
            var votes = member.State switch
            {
                MemberState.Joining => HasJoinedBefore(at, member.Id),
                MemberState.Leaving or MemberState.Evicting =>
                    groups[at].IsVoter(member.Id) && !HasLeftBefore(at, member.Id),
                MemberState.Evicted => false,
                _ => true,
            };
            if (votes)
            {
                voters.Add(member.Id);
            }
        }

        return voters.ToImmutable();
    }

    /// <summary>The group is not yet as it should be.</summary>
    public bool IsDue(int at)
    {
        var now = groups[at];
        var (voters, learners) = MembersOf(at);
        return now.Voters.Length != voters.Count || !voters.All(now.IsVoter)
            || now.Learners.Length != learners.Count || !learners.All(now.IsLearner);
    }

    /// <summary>
    /// What the member that is on its way has come to; its state as it is while it is still on its way.
    /// </summary>
    /// <param name="member">It is joining or leaving, or is being evicted.</param>
    /// <param name="isCommitted">Whether the configuration of a group, by its place, has committed.</param>
    public MemberState OutcomeOf(ClusterMember member, Func<int, bool> isCommitted)
    {
        for (var at = 0; at < groups.Count; at++)
        {
            var isThere = member.State == MemberState.Joining
                ? groups[at].IsVoter(member.Id)
                : !groups[at].Contains(member.Id);
            if (!isThere || !isCommitted(at))
            {
                return member.State;
            }
        }

        return member.State switch
        {
            MemberState.Joining => MemberState.Member,
            MemberState.Evicting => MemberState.Evicted,
            _ => MemberState.Left,
        };
    }

    private IReadOnlyList<NodeId> LearnersOf(int at) => at > 0 ? []
        : [.. members.Nodes.Values.Where(static member => member.State == MemberState.Evicted)
            .Select(static member => member.Id)];

    private bool HasJoinedBefore(int at, NodeId node)
    {
        for (var i = 0; i < at; i++)
        {
            if (!groups[i].IsVoter(node))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>It leaves the groups in their order, but the first one last.</summary>
    private bool HasLeftBefore(int at, NodeId node)
    {
        var end = at == 0 ? groups.Count : at;
        for (var i = 1; i < end; i++)
        {
            if (groups[i].Contains(node))
            {
                return false;
            }
        }

        return true;
    }
}
