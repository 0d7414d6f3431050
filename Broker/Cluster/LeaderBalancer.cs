using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// Spreads leaders: group g belongs to node g modulo the number of members that may vote in it, or to the member that
/// an operator has named (TransferLeadership), for as long as that is one; those that drain do not count. Where only
/// some nodes vote in a shard, each shard takes of its voters the one that has fewest so far. After a node
/// has come back and stayed, the node that led in its stead hands the group back, so that one crash does not leave all
/// the work on one node.
/// </summary>
internal sealed class LeaderBalancer(
    ClusterOptions options,
    MetadataStateMachine metadata,
    Func<GroupId, IReadOnlyList<NodeId>> foundersOf,
    IReadOnlyList<ReplicaGroup> groups,
    PeerTransport transport,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    /// <summary>
    /// A node counts as back when it has been connected and the group quiet in its leadership for so long.
    /// </summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(10);

    private readonly Dictionary<GroupId, (Term Term, DateTimeOffset Since)> _stable = [];

    /// <summary>None: there is no node.</summary>
    public static NodeId ByTurns(IReadOnlyList<NodeId> nodes, GroupId group) =>
        nodes.Count == 0 ? NodeId.None : nodes[group.Value % nodes.Count];

    /// <summary>None: nobody is to lead it, as nobody is a member.</summary>
    public NodeId PreferredLeaderOf(GroupId group)
    {
        var members = metadata.Members;
        var placed = members.LeaderOf(group);
        if (members.Find(placed) is { State: MemberState.Member, IsDraining: false } wanted
            && wanted.Roles.VoteIn(group) && members.IsPlacedIn(placed, group))
        {
            return placed;
        }

        if (members.Placements.ContainsKey(group.Value))
        {
            return OfPlaced(members).GetValueOrDefault(group.Value);
        }

        return ByTurns(
            members.IsKnown
                ? [.. members.Nodes.Values.Where(each => each is { State: MemberState.Member, IsDraining: false }
                    && each.Roles.VoteIn(group)).Select(static each => each.Id)]
                : foundersOf(group),
            group);
    }

    /// <summary>Of each shard that has named voters, one that may lead; without such a one it is not there.</summary>
    internal static Dictionary<int, NodeId> OfPlaced(ClusterMembers members)
    {
        var leads = new Dictionary<int, int>();
        var chosen = new Dictionary<int, NodeId>();
        foreach (var (shard, voters) in members.Placements)
        {
            int[] able = [.. voters.Where(voter => members.Nodes.GetValueOrDefault(voter)
                is { State: MemberState.Member, IsDraining: false })];
            if (able.Length > 0)
            {
                var leader = able.MinBy(voter => leads.GetValueOrDefault(voter));
                leads[leader] = leads.GetValueOrDefault(leader) + 1;
                chosen[shard] = new NodeId(leader);
            }
        }

        return chosen;
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await Beat.NextAsync(Interval, time, cancellationToken);
            foreach (var group in groups)
            {
                Look(group);
            }
        }
    }

    private void Look(ReplicaGroup group)
    {
        var status = group.Status;
        var preferred = PreferredLeaderOf(group.Id);
        var eligible = status.Role == RaftRole.Leader
            && preferred != options.NodeId
            && transport.IsConnected(preferred);
        var now = time.GetUtcNow();
        if (!eligible)
        {
            _stable.Remove(group.Id);
            return;
        }

        if (!_stable.TryGetValue(group.Id, out var stable) || stable.Term != status.Term)
        {
            _stable[group.Id] = (status.Term, now);
            return;
        }

        if (now - stable.Since >= SettleTime)
        {
            _stable[group.Id] = (status.Term, now);
            ClusterEvents.Balancing(logger, group.Id.Value, preferred.Value);
            group.OfferLeadership(preferred);
        }
    }
}
