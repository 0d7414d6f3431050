using System.Collections.Immutable;
using Broker.Domain;

namespace Broker.ClusterState;

/// <summary>How far a node is in or out. The numbers are on disk: never reuse one.</summary>
public enum MemberState : byte
{
    /// <summary>It is being made a member of one group after another.</summary>
    Joining = 1,

    /// <summary>It votes in every group that is its roles'.</summary>
    Member = 2,

    /// <summary>It is being taken out of one group after another.</summary>
    Leaving = 3,

    /// <summary>It has left all groups: it is no member any more, and no node gets its number again.</summary>
    Left = 4,

    /// <summary>It was silent for too long, and is being taken out of one group after another.</summary>
    Evicting = 5,

    /// <summary>
    /// It votes in no group, and keeps its number and its disk: when it is back it joins again, with what it has.
    /// </summary>
    Evicted = 6,
}

/// <summary>A node of the cluster.</summary>
/// <param name="Id">Given by the cluster, never twice.</param>
/// <param name="Name">Its operator's name for it; no two members share one.</param>
/// <param name="Address">Base address of its gRPC endpoint, as last heard.</param>
/// <param name="State">How far it is in or out.</param>
public sealed record ClusterMember(NodeId Id, string Name, string Address, MemberState State)
{
    /// <summary>Its operator is about to stop it: it is to lead nothing.</summary>
    public bool IsDraining { get; init; }

    /// <summary>What it is for; it never changes.</summary>
    public NodeRoles Roles { get; init; } = NodeRoles.Both;

    /// <summary>It is on its way in or out.</summary>
    public bool IsChanging => State is MemberState.Joining or MemberState.Leaving or MemberState.Evicting;
}

/// <summary>Who belongs to the cluster after some applied entry. Immutable.</summary>
/// <param name="Nodes">The members by number.</param>
/// <param name="Founders">The numbers that the groups began with, in rising order; empty: not known yet.</param>
/// <param name="LastId">The highest number that was ever given.</param>
/// <param name="Leaders">Where an operator wants a shard led: the node, by shard.</param>
public sealed record ClusterMembers(
    ImmutableSortedDictionary<int, ClusterMember> Nodes,
    ImmutableSortedSet<int> Founders,
    int LastId,
    ImmutableSortedDictionary<int, int> Leaders)
{
    public static readonly ClusterMembers Empty = new(
        ImmutableSortedDictionary<int, ClusterMember>.Empty, [], 0, ImmutableSortedDictionary<int, int>.Empty);

    /// <summary>The roles of those founders that have one only.</summary>
    public ImmutableSortedDictionary<int, NodeRoles> FounderRoles { get; init; } =
        ImmutableSortedDictionary<int, NodeRoles>.Empty;

    /// <summary>How many data nodes are to vote in each shard for topics; 0: all of them.</summary>
    public int ShardVoters { get; init; }

    /// <summary>
    /// Only those that vote in a shard keep its records: the others keep its state, and give up what they received.
    /// False: all data nodes keep all.
    /// </summary>
    public bool VotersKeepRecordsAlone { get; init; }

    /// <summary>
    /// The numbers of the nodes that are to vote in a shard for topics, by shard; of one that is not here all data
    /// nodes are. The other data nodes receive its log.
    /// </summary>
    public ImmutableSortedDictionary<int, ImmutableSortedSet<int>> Placements { get; init; } =
        ImmutableSortedDictionary<int, ImmutableSortedSet<int>>.Empty;

    /// <summary>The first leader of this version has named the members.</summary>
    public bool IsKnown => LastId > 0;

    /// <summary>The member that is on its way in or out; null: none is. There is one at a time.</summary>
    public ClusterMember? Changing => Nodes.Values.FirstOrDefault(static member => member.IsChanging);

    /// <summary>In all groups somebody who votes can lead when this node does not.</summary>
    public bool CanDrain(NodeId id) => HaveRolesOf(id, CanLead)
        && Placements.Values.All(voters => !voters.Contains(id.Value)
            || voters.Any(other => other != id.Value && Nodes.TryGetValue(other, out var member) && CanLead(member)));

    /// <summary>Each role that a node has is another member's too.</summary>
    public bool CanSpare(NodeId id) => HaveRolesOf(id, static _ => true);

    /// <summary>With their roles, by number.</summary>
    public IReadOnlyList<Founder> ListFounders() => [.. Founders.Select(
        founder => new Founder(new NodeId(founder), FounderRoles.GetValueOrDefault(founder, NodeRoles.Both)))];

    public ClusterMember? Find(NodeId id) => Nodes.GetValueOrDefault(id.Value);

    public ClusterMember? Find(string name) => Nodes.Values.FirstOrDefault(member => member.Name == name);

    /// <summary>Where an operator wants a shard led; none: wherever the node's own rule says.</summary>
    public NodeId LeaderOf(GroupId shard) => new(Leaders.GetValueOrDefault(shard.Value));

    /// <summary>Whether a node that has the role for it is to vote in a group.</summary>
    public bool IsPlacedIn(NodeId id, GroupId group) =>
        !Placements.TryGetValue(group.Value, out var voters) || voters.Contains(id.Value);

    /// <summary>Whether a data node is to keep the records of a shard.</summary>
    public bool KeepsRecords(NodeId id, GroupId shard) => !VotersKeepRecordsAlone || IsPlacedIn(id, shard);

    private static bool CanLead(ClusterMember member) => member is { State: MemberState.Member, IsDraining: false };

    private bool HaveRolesOf(NodeId id, Func<ClusterMember, bool> able)
    {
        var roles = NodeRoles.None;
        foreach (var other in Nodes.Values)
        {
            roles |= other.Id != id && able(other) ? other.Roles : NodeRoles.None;
        }

        var needed = Find(id)?.Roles ?? NodeRoles.None;
        return (roles & needed) == needed;
    }
}
