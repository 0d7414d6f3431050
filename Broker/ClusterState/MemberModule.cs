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
/// <param name="changed">As that of <see cref="ClusterModule"/>.</param>
public sealed partial class MemberModule(ClusterModule cluster, Action<ClusterMembers>? changed = null) : StateModule
{
    private ClusterMembers _current = ClusterMembers.Empty;

    // What the commands of the entry have come to so far.
    private ClusterMembers _next = ClusterMembers.Empty;

    /// <summary>The members after the last applied entry. Any thread.</summary>
    public ClusterMembers Current => Volatile.Read(ref _current);

    internal override StateSection Section => StateSection.Members;

    internal override byte SectionFormat => WithFlags;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.MembersFounded,
        CommandKind.MemberJoined,
        CommandKind.MemberMoved,
        CommandKind.MemberChanged,
        CommandKind.LeaderPlaced,
        CommandKind.MemberDrained,
    ];

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        ref var hash = ref step.Hash;
        var result = command.Kind switch
        {
            CommandKind.MembersFounded => Found(MemberCommands.ReadFounded(command), ref hash),
            CommandKind.MemberJoined => Join(MemberCommands.ReadJoined(command), ref hash),
            CommandKind.MemberMoved => Move(MemberCommands.ReadMoved(command), ref hash),
            CommandKind.MemberChanged => Change(MemberCommands.ReadChanged(command), ref hash),
            CommandKind.LeaderPlaced => PlaceLeader(MemberCommands.ReadLeaderPlaced(command), ref hash),
            _ => Drain(MemberCommands.ReadDrained(command), ref hash),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    internal override void EndEntry()
    {
        if (!ReferenceEquals(_next, _current))
        {
            Show(_next);
        }
    }

    private static CommandResult Refused(RefusalCode code) => new() { Code = code };

    private void Show(ClusterMembers state)
    {
        _next = state;
        Volatile.Write(ref _current, state);
        changed?.Invoke(state);
    }

    // Every leader proposes it while it finds no members: the first in the log is what the cluster began with.
    private CommandResult Found(IReadOnlyList<ClusterMember> members, ref StateHasher hash)
    {
        foreach (var member in members)
        {
            hash.Add(member.Id.Value);
            hash.Add(member.Name);
            hash.Add(member.Address);
        }

        if (_next.IsKnown)
        {
            return new CommandResult { Duplicate = true };
        }

        if (members.Count is 0 or > GroupConfiguration.MaxMembers
            || members.Any(static member => member.Id.Value <= 0 || !IsText(member.Name) || !IsText(member.Address))
            || members.DistinctBy(static member => member.Id).Count() != members.Count
            || members.DistinctBy(static member => member.Name).Count() != members.Count)
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        _next = ClusterMembers.Empty with
        {
            Nodes = ClusterMembers.Empty.Nodes.AddRange(
                members.Select(static member => KeyValuePair.Create(member.Id.Value, member))),
            Founders = [.. members.Select(static member => member.Id.Value)],
            LastId = members.Max(static member => member.Id.Value),
        };
        return default;
    }

    // A disk names its node: the same one that asks again gets the same number.
    private CommandResult Join((Guid StoreId, string Name, string Address) node, ref StateHasher hash)
    {
        hash.Add(node.StoreId);
        hash.Add(node.Name);
        hash.Add(node.Address);
        if (node.StoreId == Guid.Empty || !IsText(node.Name) || !IsText(node.Address))
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        var disks = cluster.Next;
        if (_next.Find(node.Name) is { } known)
        {
            return known.State == MemberState.Leaving || disks.FindNode(known.Id)?.StoreId != node.StoreId
                ? Refused(RefusalCode.FailedPrecondition)
                : MoveTo(known, node.Address) with { Duplicate = true, BaseOffset = known.Id.Value };
        }

        if (!_next.IsKnown || _next.Changing is not null || disks.RetiredStores.Contains(node.StoreId)
            || disks.Nodes.Values.Any(each => each.StoreId == node.StoreId))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        if (_next.Nodes.Count >= GroupConfiguration.MaxMembers || _next.LastId == int.MaxValue)
        {
            return Refused(RefusalCode.ResourceExhausted);
        }

        var id = new NodeId(_next.LastId + 1);
        cluster.Register(new NodeRegistration(id, node.Name, node.StoreId));
        _next = _next with
        {
            Nodes = _next.Nodes.Add(
                id.Value, new ClusterMember(id, node.Name, node.Address, MemberState.Joining)),
            LastId = id.Value,
        };
        return new CommandResult { BaseOffset = id.Value };
    }

    private CommandResult Move((NodeId Id, string Address) node, ref StateHasher hash)
    {
        hash.Add(node.Id.Value);
        hash.Add(node.Address);
        return !IsText(node.Address) ? Refused(RefusalCode.InvalidArgument)
            : _next.Find(node.Id) is { } known ? MoveTo(known, node.Address)
            : Refused(RefusalCode.NotFound);
    }

    private CommandResult MoveTo(ClusterMember member, string address)
    {
        if (member.Address == address)
        {
            return new CommandResult { Duplicate = true };
        }

        _next = _next with { Nodes = _next.Nodes.SetItem(member.Id.Value, member with { Address = address }) };
        return default;
    }

    private CommandResult Change((NodeId Id, MemberState State) node, ref StateHasher hash)
    {
        hash.Add(node.Id.Value);
        hash.Add((ulong)node.State);
        if (_next.Find(node.Id) is not { } member)
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
            _next = _next with
            {
                Nodes = _next.Nodes.Remove(member.Id.Value),
                Leaders = _next.Leaders.RemoveRange(
                    _next.Leaders.Where(each => each.Value == member.Id.Value).Select(static each => each.Key)),
            };
        }
        else
        {
            _next = _next with { Nodes = _next.Nodes.SetItem(member.Id.Value, member with { State = node.State }) };
        }

        return default;
    }

    private bool IsAllowed(ClusterMember member, MemberState next)
    {
        // One that cannot come in can be sent away.
        var isFree = _next.Changing is null || _next.Changing == member;
        return next switch
        {
            MemberState.Member => member.State == MemberState.Joining,
            MemberState.Leaving => _next.Nodes.Count > 1 && isFree,
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
        if (_next.Find(node.Id) is not { } member)
        {
            return Refused(RefusalCode.NotFound);
        }

        if (member.IsDraining == node.IsDraining)
        {
            return new CommandResult { Duplicate = true };
        }

        // Somebody must lead.
        if (node.IsDraining && !_next.CanDrain(node.Id))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        _next = _next with
        {
            Nodes = _next.Nodes.SetItem(member.Id.Value, member with { IsDraining = node.IsDraining }),
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

        if (_next.LeaderOf(place.Shard) == place.Node)
        {
            return new CommandResult { Duplicate = true };
        }

        if (!place.Node.IsNone && _next.Find(place.Node) is null)
        {
            return Refused(RefusalCode.NotFound);
        }

        _next = _next with
        {
            Leaders = place.Node.IsNone
                ? _next.Leaders.Remove(place.Shard.Value)
                : _next.Leaders.SetItem(place.Shard.Value, place.Node.Value),
        };
        return default;
    }

    private static bool IsText(string text) =>
        text.Length is > 0 and <= Limits.TopicNameBytes && Encoding.UTF8.GetByteCount(text) <= Limits.TopicNameBytes;
}
