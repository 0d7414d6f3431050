using System.Collections.Immutable;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Cluster;

/// <summary>Which nodes are to vote in a shard from now on.</summary>
/// <param name="Shard">The shard.</param>
/// <param name="Voters">Their numbers; none: all data nodes.</param>
/// <param name="IsUrgent">
/// Somebody who votes there is on its way out, or everybody is to vote: it waits for nothing. Others come one at a
/// time, each when the shards' voters are those that were named before.
/// </param>
internal sealed record PlacementMove(GroupId Shard, ImmutableSortedSet<int> Voters, bool IsUrgent);

/// <summary>
/// Which data nodes are to vote in which shard, when only some of them are: as evenly as may be, and one node of one
/// shard at a time once all are named. Pure: the same members give the same next move, and each move leads nearer to
/// where there is none.
/// </summary>
internal static class PlacementPlan
{
    /// <summary>Null: all is as it should be.</summary>
    /// <param name="members">Who belongs to the cluster, and who votes where so far.</param>
    /// <param name="shards">How many shards for topics there are.</param>
    public static PlacementMove? Next(ClusterMembers members, int shards)
    {
        if (members.ShardVoters == 0)
        {
            return members.Placements.IsEmpty
                ? null
                : new PlacementMove(new GroupId(members.Placements.Keys.First()), [], IsUrgent: true);
        }

        int[] able = [.. members.Nodes.Values.Where(CanVote).Select(static member => member.Id.Value)];
        if (able.Length == 0)
        {
            return null;
        }

        var nodes = new Loads(members, able);
        var count = Math.Min(members.ShardVoters, able.Length);
        return ReplaceOneThatGoes(members, shards, nodes, count)
            ?? ReplaceOneThatDrains(members, nodes)
            ?? PlaceOrResize(members, shards, nodes, count)
            ?? Balance(members, nodes);
    }

    /// <summary>
    /// Whether a shard has the voters that were named for it; what all have, too, where nobody was named.
    /// </summary>
    public static bool IsSettled(ClusterMembers members, IReadOnlyList<GroupView> views)
    {
        for (var at = 1; at < views.Count; at++)
        {
            if (members.Placements.TryGetValue(at, out var voters)
                && !(views[at].IsCommitted
                    && views[at].Members.Voters.Select(static voter => voter.Value).SequenceEqual(voters)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// A leader that is not to vote any more leads until those that are to vote do: then one of them takes over, and
    /// has it receive the log only.
    /// </summary>
    public static bool MustHandOver(ClusterMembers members, int at, NodeId leader, GroupConfiguration configuration) =>
        members.Placements.TryGetValue(at, out var voters) && !voters.Contains(leader.Value)
        && voters.All(voter => configuration.IsVoter(new NodeId(voter)));

    private static bool CanVote(ClusterMember member) =>
        member.State == MemberState.Member && member.Roles.HasFlag(NodeRoles.Data);

    /// <summary>With nobody to take its place the shard has fewer voters, but never none.</summary>
    private static PlacementMove? ReplaceOneThatGoes(ClusterMembers members, int shards, Loads nodes, int count)
    {
        for (var shard = 1; shard <= shards; shard++)
        {
            if (!members.Placements.TryGetValue(shard, out var voters)
                || voters.FirstOrDefault(voter => !nodes.Contains(voter)) is not (> 0 and var going))
            {
                continue;
            }

            var others = voters.Remove(going);
            if (others.Count < count && nodes.LeastLoadedBut(voters, shard) is { } next)
            {
                return new PlacementMove(new GroupId(shard), others.Add(next), IsUrgent: true);
            }

            if (!others.IsEmpty)
            {
                return new PlacementMove(new GroupId(shard), others, IsUrgent: true);
            }
        }

        return null;
    }

    /// <summary>
    /// Where all that vote drain, nobody may lead: one gives its vote to a node that does not drain. It waits for
    /// nothing, as who leads such a shard without a vote could hand it over to nobody.
    /// </summary>
    private static PlacementMove? ReplaceOneThatDrains(ClusterMembers members, Loads nodes)
    {
        foreach (var (shard, voters) in members.Placements)
        {
            if (voters.All(nodes.Drains) && nodes.LeastLoadedBut(voters, shard) is { } next && !nodes.Drains(next))
            {
                return new PlacementMove(
                    new GroupId(shard), voters.Remove(nodes.MostLoadedOf(voters)).Add(next), IsUrgent: true);
            }
        }

        return null;
    }

    private static PlacementMove? PlaceOrResize(ClusterMembers members, int shards, Loads nodes, int count)
    {
        for (var shard = 1; shard <= shards; shard++)
        {
            var voters = members.Placements.GetValueOrDefault(shard, []);
            if (voters.Count == count)
            {
                continue;
            }

            var isNew = voters.IsEmpty;
            while (voters.Count < count && nodes.LeastLoadedBut(voters, shard) is { } next)
            {
                voters = voters.Add(next);
                if (!isNew)
                {
                    return new PlacementMove(new GroupId(shard), voters, IsUrgent: false);
                }
            }

            return new PlacementMove(
                new GroupId(shard),
                isNew ? voters : voters.Remove(nodes.FirstToGoOf(voters)),
                IsUrgent: false);
        }

        return null;
    }

    /// <summary>
    /// From a node that votes in two shards more than another one to that: each such move makes the loads more alike,
    /// so there is an end. No vote goes from one that can lead to one that cannot.
    /// </summary>
    private static PlacementMove? Balance(ClusterMembers members, Loads nodes)
    {
        foreach (var (shard, voters) in members.Placements)
        {
            if (nodes.LeastLoadedBut(voters, shard) is { } low
                && nodes.MostLoadedOf(voters) is var high && nodes[high] > nodes[low] + 1
                && (nodes.Drains(high) || !nodes.Drains(low)))
            {
                return new PlacementMove(new GroupId(shard), voters.Remove(high).Add(low), IsUrgent: false);
            }
        }

        return null;
    }

    /// <summary>In how many shards each of those that may vote does.</summary>
    private sealed class Loads
    {
        private readonly ClusterMembers _members;
        private readonly int[] _able;
        private readonly Dictionary<int, int> _counts;

        public Loads(ClusterMembers members, int[] able)
        {
            (_members, _able) = (members, able);
            _counts = able.ToDictionary(
                static node => node, node => members.Placements.Values.Count(voters => voters.Contains(node)));
        }

        public int this[int node] => _counts[node];

        public bool Contains(int node) => _counts.ContainsKey(node);

        public bool Drains(int node) => _members.Nodes[node].IsDraining;

        /// <summary>
        /// One that drains last, as it cannot lead; of equals each shard begins with another one. Null: all are taken.
        /// </summary>
        public int? LeastLoadedBut(ImmutableSortedSet<int> taken, int shard)
        {
            int? found = null;
            for (var i = 0; i < _able.Length; i++)
            {
                var node = _able[(shard + i) % _able.Length];
                if (!taken.Contains(node) && (found is not { } best || Rank(node).CompareTo(Rank(best)) < 0))
                {
                    found = node;
                }
            }

            return found;
        }

        public int MostLoadedOf(ImmutableSortedSet<int> voters) =>
            voters.Where(Contains).OrderByDescending(node => (_counts[node], node)).First();

        /// <summary>When a shard is to have fewer voters: one that cannot lead before one that can.</summary>
        public int FirstToGoOf(ImmutableSortedSet<int> voters) =>
            voters.Where(Contains).OrderByDescending(node => (Rank(node), node)).First();

        private (bool Drains, int Count) Rank(int node) => (Drains(node), _counts[node]);
    }
}
