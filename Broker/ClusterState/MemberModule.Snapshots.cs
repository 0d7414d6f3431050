using System.Collections.Immutable;
using Broker.Domain;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The members' section of a snapshot: the whole state.
/// <code>
/// varint highest number given | varint members
/// for each, by number: varint number | text name | text address | u8 state (see MemberState)
///     | u8 whether it drains (not in format 1) | u8 roles (see NodeRoles; not in formats 1 and 2)
/// varint founders | varint number | u8 roles (not in formats 1 and 2), for each, in rising order
/// varint placed leaders | varint shard, varint node number, for each, by shard
/// varint voters of a shard, 0 for all | varint placed shards (from here on not in formats 1 to 3; format 5 says that
///     these alone keep the shard's records)
/// for each, by shard: varint shard | varint voters | varint node number, for each, in rising order
/// </code>
/// Node 1, named "b" at "c", is all there ever was:
/// <code>
/// 01 | 01 | 01 | 01 62 | 01 63 | 02 | 00 | 03 | 01 | 01 | 03 | 00
/// </code>
/// </summary>
public sealed partial class MemberModule
{
    private const byte WithoutFlags = 1;
    private const byte WithFlags = 2;
    private const byte WithRoles = 3;
    private const byte WithPlacements = 4;
    private const byte WithRecords = 5;
    private const int LeastMemberBytes = 1 + 2 + 2 + 1;

    internal override void Write(ref SnapshotWriter writer)
    {
        var state = Current;
        writer.PutVarint(state.LastId);
        writer.PutVarint(state.Nodes.Count);
        foreach (var member in state.Nodes.Values)
        {
            writer.PutVarint(member.Id.Value);
            writer.PutText(member.Name);
            writer.PutText(member.Address);
            writer.PutByte((byte)member.State);
            writer.PutByte(member.IsDraining ? (byte)1 : (byte)0);
            writer.PutByte((byte)member.Roles);
        }

        writer.PutVarint(state.Founders.Count);
        foreach (var (founder, roles) in state.ListFounders())
        {
            writer.PutVarint(founder.Value);
            writer.PutByte((byte)roles);
        }

        writer.PutVarint(state.Leaders.Count);
        foreach (var (shard, node) in state.Leaders)
        {
            writer.PutVarint(shard);
            writer.PutVarint(node);
        }

        if (SectionFormat >= WithPlacements)
        {
            WritePlacements(ref writer, state);
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(
            format is >= WithoutFlags and <= WithRecords, "the members' section has a format that is known");
        var lastId = (int)reader.TakeVarint(int.MaxValue);
        var members = ReadMembers(ref reader, format);
        var founders = ReadFounders(ref reader, format);
        var state = new ClusterMembers(
            members, [.. founders.Select(static each => each.Node.Value)], lastId, ReadLeaders(ref reader))
        {
            FounderRoles = founders.Where(static each => each.Roles != NodeRoles.Both)
                .ToImmutableSortedDictionary(static each => each.Node.Value, static each => each.Roles),
        };
        if (format >= WithPlacements)
        {
            state = ReadPlacements(ref reader, state) with { VotersKeepRecordsAlone = format == WithRecords };
        }

        reader.Check(
            state.Nodes.Keys.Concat(state.Founders).All(number => number <= lastId),
            "no number is above the highest that was given");
        reader.Check(
            state.Leaders.Values.All(state.Nodes.ContainsKey), "a shard is to be led by a member");
        return () => Show(state);
    }

    private static void WritePlacements(ref SnapshotWriter writer, ClusterMembers state)
    {
        writer.PutVarint(state.ShardVoters);
        writer.PutVarint(state.Placements.Count);
        foreach (var (shard, voters) in state.Placements)
        {
            writer.PutVarint(shard);
            writer.PutVarint(voters.Count);
            foreach (var voter in voters)
            {
                writer.PutVarint(voter);
            }
        }
    }

    private static ClusterMembers ReadPlacements(ref SnapshotReader reader, ClusterMembers state)
    {
        var count = (int)reader.TakeVarint(GroupConfiguration.MaxMembers);
        var placements = state.Placements.ToBuilder();
        var before = 0;
        for (var left = reader.TakeCount(Limits.Shards, 1 + 1 + 1); left > 0; left--)
        {
            var shard = (int)reader.TakeVarint(Limits.Shards);
            reader.Check(shard > before, "placed shards stand in rising order");
            before = shard;
            var voters = ImmutableSortedSet.CreateBuilder<int>();
            for (var voter = reader.TakeCount(GroupConfiguration.MaxMembers, 1); voter > 0; voter--)
            {
                var number = (int)reader.TakeVarint(int.MaxValue);
                reader.Check(
                    (voters.Count == 0 || number > voters.Max) && state.Nodes.ContainsKey(number),
                    "the voters of a shard are members, in rising order");
                voters.Add(number);
            }

            reader.Check(voters.Count > 0, "a placed shard has voters");
            placements.Add(shard, voters.ToImmutable());
        }

        reader.Check(count > 0 || placements.Count > 0, "shards that all vote in are not told");
        return state with { ShardVoters = count, Placements = placements.ToImmutable() };
    }

    private static ImmutableSortedDictionary<int, ClusterMember> ReadMembers(
        ref SnapshotReader reader, byte format)
    {
        var members = ClusterMembers.Empty.Nodes.ToBuilder();
        var before = 0;
        for (var left = reader.TakeCount(GroupConfiguration.MaxMembers, LeastMemberBytes); left > 0; left--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(number > before, "members stand in rising order");
            before = number;
            var name = reader.TakeText(Limits.TopicNameBytes);
            var address = reader.TakeText(Limits.TopicNameBytes);
            var state = (MemberState)reader.TakeByte();
            reader.Check(Enum.IsDefined(state) && state != MemberState.Left, "a member's state is known");
            var drains = format >= WithFlags ? reader.TakeByte() : 0;
            reader.Check(drains <= 1, "a member drains or does not");
            members.Add(number, new ClusterMember(new NodeId(number), name, address, state)
            {
                IsDraining = drains == 1,
                Roles = ReadRoles(ref reader, format),
            });
        }

        return members.ToImmutable();
    }

    private static List<Founder> ReadFounders(ref SnapshotReader reader, byte format)
    {
        var founders = new List<Founder>();
        for (var left = reader.TakeCount(GroupConfiguration.MaxMembers, 1); left > 0; left--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(
                number > (founders.Count == 0 ? 0 : founders[^1].Node.Value), "founders stand in rising order");
            founders.Add(new Founder(new NodeId(number), ReadRoles(ref reader, format)));
        }

        return founders;
    }

    private static NodeRoles ReadRoles(ref SnapshotReader reader, byte format)
    {
        var roles = format < WithRoles ? NodeRoles.Both : (NodeRoles)reader.TakeByte();
        reader.Check(roles.AreValid(), "a node's roles are known");
        return roles;
    }

    private static ImmutableSortedDictionary<int, int> ReadLeaders(ref SnapshotReader reader)
    {
        var leaders = ClusterMembers.Empty.Leaders.ToBuilder();
        var before = -1;
        for (var left = reader.TakeCount(Limits.Shards + 1, 2); left > 0; left--)
        {
            var shard = (int)reader.TakeVarint(Limits.Shards);
            reader.Check(shard > before, "shards stand in rising order");
            before = shard;
            leaders.Add(shard, (int)reader.TakeVarint(int.MaxValue));
        }

        return leaders.ToImmutable();
    }
}
