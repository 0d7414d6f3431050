using System.Collections.Immutable;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Cluster;

/// <summary>
/// What follows from the members of the cluster for its groups: who should vote in each. Controllers vote in the
/// metadata group, data nodes in the others, and they receive the metadata group's log. A node comes into one group
/// after another and leaves them so, the metadata group first and last: it then knows what becomes of it all the while,
/// and one group at a time is busy with it. Where only some data nodes are to vote in a shard the others receive its
/// log, and one that goes votes until another one was named in its place. One that was evicted only receives the log of
/// the metadata group: that is where it is heard when it is back, and where it hears what became of it.
/// </summary>
/// <param name="members">Who belongs to the cluster.</param>
/// <param name="groups">
/// The configuration of each group, as far as it is known here. A dedicated controller needs those of others than the
/// first only while a data node is on its way.
/// </param>
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
            var votes = Votes(member, at) && member.State switch
            {
                MemberState.Joining => HasJoinedBefore(at, member),
                MemberState.Leaving or MemberState.Evicting =>
                    groups[at].IsVoter(member.Id) && (IsPlaced(at) || !HasLeftBefore(at, member.Id)),
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
            if (!HoldsReplica(member, at))
            {
                continue;
            }

            var isThere = member.State switch
            {
                MemberState.Joining => IsIn(at, member),
                MemberState.Evicting when at == 0 && !Votes(member, at) => true, // It goes on receiving its log.
                _ => !groups[at].Contains(member.Id),
            };
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

    /// <summary>Every node has one of the metadata group, and every data node one of each shard.</summary>
    private static bool HoldsReplica(ClusterMember member, int at) => at == 0 || member.Roles.VoteIn(new GroupId(at));

    private bool Votes(ClusterMember member, int at) =>
        member.Roles.VoteIn(new GroupId(at)) && members.IsPlacedIn(member.Id, new GroupId(at));

    private bool IsPlaced(int at) => members.Placements.ContainsKey(at);

    private ImmutableArray<NodeId> LearnersOf(int at)
    {
        if (!members.IsKnown || (at > 0 && !IsPlaced(at)))
        {
            return [];
        }

        var learners = ImmutableArray.CreateBuilder<NodeId>();
        foreach (var member in members.Nodes.Values)
        {
            if (at == 0 ? ReceivesMetadata(member) : ReceivesShard(at, member))
            {
                learners.Add(member.Id);
            }
        }

        return learners.ToImmutable();
    }

    /// <summary>
    /// Who does not vote there. A controller that has lost its replica of the metadata while it goes gets it again
    /// until it has left the others: it may lead one of them, and would not know that it is to go.
    /// </summary>
    private bool ReceivesMetadata(ClusterMember member) => member.State switch
    {
        MemberState.Evicted => true,
        MemberState.Leaving or MemberState.Evicting when Votes(member, 0) =>
            !groups[0].IsVoter(member.Id) && !HasLeftBefore(0, member.Id),
        MemberState.Leaving => !HasLeftBefore(0, member.Id),
        _ => !Votes(member, 0),
    };

    private bool ReceivesShard(int at, ClusterMember member) =>
        HoldsReplica(member, at) && !Votes(member, at) && member.State switch
        {
            MemberState.Member => true,
            MemberState.Joining => HasJoinedBefore(at, member),
            MemberState.Leaving or MemberState.Evicting =>
                groups[at].IsLearner(member.Id) && !HasLeftBefore(at, member.Id),
            _ => false,
        };

    /// <summary>It has come into a group as far as it does for now.</summary>
    private bool IsIn(int at, ClusterMember member) =>
        !HoldsReplica(member, at)
        || (Votes(member, at) ? groups[at].IsVoter(member.Id) : groups[at].Contains(member.Id));

    private bool HasJoinedBefore(int at, ClusterMember member)
    {
        for (var i = 0; i < at; i++)
        {
            if (!IsIn(i, member))
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
