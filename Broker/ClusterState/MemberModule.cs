using System.Collections.Immutable;
using System.Text;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// Who belongs to the cluster. What a group's voters are follows from it, one step at a time, by the leaders' work; see
/// Cluster/Members. A number is given once: a node that has left comes back as another one.
/// </summary>
/// <param name="cluster">Knows the members' disks; it stands before this module.</param>
/// <param name="changed">See <see cref="PictureModule{TPicture}"/>.</param>
public sealed partial class MemberModule(ClusterModule cluster, Action<ClusterMembers>? changed = null)
    : PictureModule<ClusterMembers>(ClusterMembers.Empty, changed)
{
    internal override StateSection Section => StateSection.Members;

    /// <summary>Where every data node votes in every shard it is what versions of before read, too.</summary>
    internal override byte SectionFormat =>
        Current is { ShardVoters: 0, Placements.IsEmpty: true } ? WithRoles
        : Current.VotersKeepRecordsAlone ? WithRecords
        : WithPlacements;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.MembersFounded,
        CommandKind.MemberJoined,
        CommandKind.MemberMoved,
        CommandKind.MemberChanged,
        CommandKind.LeaderPlaced,
        CommandKind.MemberDrained,
        CommandKind.MembersFoundedWithRoles,
        CommandKind.MemberJoinedWithRoles,
        CommandKind.ShardVotersSet,
        CommandKind.ShardPlaced,
        CommandKind.ShardReplicasSet,
    ];

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        ref var hash = ref step.Hash;
        var result = command.Kind switch
        {
            CommandKind.MembersFounded or CommandKind.MembersFoundedWithRoles =>
                Found(MemberCommands.ReadFounded(command), ref hash),
            CommandKind.MemberJoined or CommandKind.MemberJoinedWithRoles =>
                Join(MemberCommands.ReadJoined(command), ref hash),
            CommandKind.MemberMoved => Move(MemberCommands.ReadMoved(command), ref hash),
            CommandKind.MemberChanged => Change(MemberCommands.ReadChanged(command), ref hash),
            CommandKind.LeaderPlaced => PlaceLeader(MemberCommands.ReadLeaderPlaced(command), ref hash),
            CommandKind.ShardVotersSet or CommandKind.ShardReplicasSet =>
                SetShardVoters(MemberCommands.ReadShardVoters(command), ref hash),
            CommandKind.ShardPlaced => PlaceShard(MemberCommands.ReadShardPlaced(command), ref hash),
            _ => Drain(MemberCommands.ReadDrained(command), ref hash),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    private static CommandResult Refused(RefusalCode code) => new() { Code = code };

    // Every leader proposes it while it finds no members: the first in the log is what the cluster began with.
    private CommandResult Found(IReadOnlyList<ClusterMember> members, ref StateHasher hash)
    {
        foreach (var member in members)
        {
            hash.Add(member.Id.Value);
            hash.Add(member.Name);
            hash.Add(member.Address);
            AddRoles(member.Roles, ref hash);
        }

        if (Next.IsKnown)
        {
            return new CommandResult { Duplicate = true };
        }

        if (members.Count is 0 or > GroupConfiguration.MaxMembers
            || members.Any(static member => member.Id.Value <= 0 || !IsText(member.Name) || !IsText(member.Address))
            || !members.All(static member => member.Roles.AreValid())
            || members.Aggregate(NodeRoles.None, static (all, member) => all | member.Roles) != NodeRoles.Both
            || members.DistinctBy(static member => member.Id).Count() != members.Count
            || members.DistinctBy(static member => member.Name).Count() != members.Count)
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        Next = ClusterMembers.Empty with
        {
            Nodes = ClusterMembers.Empty.Nodes.AddRange(
                members.Select(static member => KeyValuePair.Create(member.Id.Value, member))),
            Founders = [.. members.Select(static member => member.Id.Value)],
            FounderRoles = members.Where(static member => member.Roles != NodeRoles.Both)
                .ToImmutableSortedDictionary(static member => member.Id.Value, static member => member.Roles),
            LastId = members.Max(static member => member.Id.Value),
        };
        return default;
    }

    // A disk names its node: the same one that asks again gets the same number.
    private CommandResult Join(
        (Guid StoreId, string Name, string Address, NodeRoles Roles) node, ref StateHasher hash)
    {
        hash.Add(node.StoreId);
        hash.Add(node.Name);
        hash.Add(node.Address);
        AddRoles(node.Roles, ref hash);
        if (node.StoreId == Guid.Empty || !IsText(node.Name) || !IsText(node.Address) || !node.Roles.AreValid())
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        var disks = cluster.Next;
        if (Next.Find(node.Name) is { } known)
        {
            return known.State == MemberState.Leaving || known.Roles != node.Roles
                || disks.FindNode(known.Id)?.StoreId != node.StoreId
                ? Refused(RefusalCode.FailedPrecondition)
                : MoveTo(known, node.Address) with { Duplicate = true, BaseOffset = known.Id.Value };
        }

        if (!Next.IsKnown || Next.Changing is not null || disks.RetiredStores.Contains(node.StoreId)
            || disks.Nodes.Values.Any(each => each.StoreId == node.StoreId))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        if (Next.Nodes.Count >= GroupConfiguration.MaxMembers || Next.LastId == int.MaxValue)
        {
            return Refused(RefusalCode.ResourceExhausted);
        }

        var id = new NodeId(Next.LastId + 1);
        cluster.Register(new NodeRegistration(id, node.Name, node.StoreId));
        Next = Next with
        {
            Nodes = Next.Nodes.Add(
                id.Value, new ClusterMember(id, node.Name, node.Address, MemberState.Joining) { Roles = node.Roles }),
            LastId = id.Value,
        };
        return new CommandResult { BaseOffset = id.Value };
    }

    private CommandResult Move((NodeId Id, string Address) node, ref StateHasher hash)
    {
        hash.Add(node.Id.Value);
        hash.Add(node.Address);
        return !IsText(node.Address) ? Refused(RefusalCode.InvalidArgument)
            : Next.Find(node.Id) is { } known ? MoveTo(known, node.Address)
            : Refused(RefusalCode.NotFound);
    }

    private CommandResult MoveTo(ClusterMember member, string address)
    {
        if (member.Address == address)
        {
            return new CommandResult { Duplicate = true };
        }

        Next = Next with { Nodes = Next.Nodes.SetItem(member.Id.Value, member with { Address = address }) };
        return default;
    }

    private CommandResult Change((NodeId Id, MemberState State) node, ref StateHasher hash)
    {
        hash.Add(node.Id.Value);
        hash.Add((ulong)node.State);
        if (Next.Find(node.Id) is not { } member)
        {
            // Whoever is no member has left.
            return node.State is MemberState.Leaving or MemberState.Left
                ? new CommandResult { Duplicate = true }
                : Refused(RefusalCode.NotFound);
        }

        if (member.State == node.State)
        {
            return new CommandResult { Duplicate = true };
        }

        if (!IsAllowed(member, node.State))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        if (node.State == MemberState.Left)
        {
            cluster.Retire(member.Id);
            Next = Next with
            {
                Nodes = Next.Nodes.Remove(member.Id.Value),
                Leaders = Next.Leaders.RemoveRange(
                    Next.Leaders.Where(each => each.Value == member.Id.Value).Select(static each => each.Key)),
                Placements = WithoutNode(Next.Placements, member.Id.Value),
            };
        }
        else
        {
            Next = Next with { Nodes = Next.Nodes.SetItem(member.Id.Value, member with { State = node.State }) };
        }

        return default;
    }

    private bool IsAllowed(ClusterMember member, MemberState next)
    {
        // One that cannot come in can be sent away.
        var isFree = Next.Changing is null || Next.Changing == member;
        return next switch
        {
            MemberState.Member => member.State == MemberState.Joining,
            MemberState.Leaving => Next.CanSpare(member.Id) && isFree,
            MemberState.Left => member.State == MemberState.Leaving,
            MemberState.Evicting => member.State is MemberState.Member or MemberState.Joining && isFree,
            MemberState.Evicted => member.State == MemberState.Evicting,
            MemberState.Joining => member.State == MemberState.Evicted && isFree,
            _ => false,
        };
    }

    private CommandResult Drain((NodeId Id, bool IsDraining) node, ref StateHasher hash)
    {
        hash.Add(node.Id.Value);
        hash.Add(node.IsDraining ? 1UL : 0UL);
        if (Next.Find(node.Id) is not { } member)
        {
            return Refused(RefusalCode.NotFound);
        }

        if (member.IsDraining == node.IsDraining)
        {
            return new CommandResult { Duplicate = true };
        }

        // Somebody must lead.
        if (node.IsDraining && !Next.CanDrain(node.Id))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        Next = Next with
        {
            Nodes = Next.Nodes.SetItem(member.Id.Value, member with { IsDraining = node.IsDraining }),
        };
        return default;
    }

    private CommandResult PlaceLeader((GroupId Shard, NodeId Node) place, ref StateHasher hash)
    {
        hash.Add(place.Shard.Value);
        hash.Add(place.Node.Value);
        if (place.Shard.Value is < 0 or > Limits.Shards)
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        if (Next.LeaderOf(place.Shard) == place.Node)
        {
            return new CommandResult { Duplicate = true };
        }

        if (!place.Node.IsNone && Next.Find(place.Node)?.Roles.VoteIn(place.Shard) != true)
        {
            return Refused(RefusalCode.NotFound);
        }

        Next = Next with
        {
            Leaders = place.Node.IsNone
                ? Next.Leaders.Remove(place.Shard.Value)
                : Next.Leaders.SetItem(place.Shard.Value, place.Node.Value),
        };
        return default;
    }

    /// <summary>What there was before there were roles has the hash that it had.</summary>
    private static void AddRoles(NodeRoles roles, ref StateHasher hash)
    {
        if (roles != NodeRoles.Both)
        {
            hash.Add((ulong)roles);
        }
    }

    private static bool IsText(string text) =>
        text.Length is > 0 and <= Limits.TopicNameBytes && Encoding.UTF8.GetByteCount(text) <= Limits.TopicNameBytes;
}
