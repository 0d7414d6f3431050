using System.Buffers;
using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The payloads of the commands on the members, in the words of <see cref="ClusterCommands"/>.
/// <code>
/// members founded: u16 members | i32 node id, text name, text address, for each
/// member joined:   store id | text name | text address
/// members founded with roles, member joined with roles: the same, and behind each address u8 roles (see NodeRoles)
/// member moved:    i32 node id | text address
/// member changed:  i32 node id | u8 state
/// leader placed:   i32 shard | i32 node id (0: wherever)
/// member drained:  i32 node id | u8 whether (0 or 1)
/// shard voters set: i32 how many (0: all)
/// shard placed:    i32 shard | u16 voters | i32 node id, for each, in rising order (none: all data nodes)
/// </code>
/// Member 4 is to leave (state 3):
/// <code>
/// 06 00 00 00 | 23 | 04 00 00 00 | 03
/// </code>
/// </summary>
public static class MemberCommands
{
    /// <summary>Where all have both roles it is the command that every version knows.</summary>
    public static void WriteFounded(IBufferWriter<byte> into, IReadOnlyList<ClusterMember> members)
    {
        var hasRoles = members.Any(static each => each.Roles != NodeRoles.Both);
        var payloadBytes = sizeof(ushort) + (hasRoles ? members.Count : 0)
            + members.Sum(static each => sizeof(int) + TextBytes(each.Name) + TextBytes(each.Address));
        var writer = CommandSequence.Begin(
            into, hasRoles ? CommandKind.MembersFoundedWithRoles : CommandKind.MembersFounded, payloadBytes);
        writer.PutUInt16(checked((ushort)members.Count));
        foreach (var member in members)
        {
            writer.PutInt32(member.Id.Value);
            writer.PutText(member.Name);
            writer.PutText(member.Address);
            if (hasRoles)
            {
                writer.PutByte((byte)member.Roles);
            }
        }

        into.Advance(writer.Written);
    }

    /// <summary>The command's result has the node's number as its offset.</summary>
    public static void WriteJoined(
        IBufferWriter<byte> into, Guid storeId, string name, string address, NodeRoles roles = NodeRoles.Both)
    {
        var hasRoles = roles != NodeRoles.Both;
        var payloadBytes = CommandSequence.GuidBytes + TextBytes(name) + TextBytes(address) + (hasRoles ? 1 : 0);
        var writer = CommandSequence.Begin(
            into, hasRoles ? CommandKind.MemberJoinedWithRoles : CommandKind.MemberJoined, payloadBytes);
        writer.PutGuid(storeId);
        writer.PutText(name);
        writer.PutText(address);
        if (hasRoles)
        {
            writer.PutByte((byte)roles);
        }

        into.Advance(writer.Written);
    }

    public static void WriteMoved(IBufferWriter<byte> into, NodeId id, string address)
    {
        var writer = CommandSequence.Begin(into, CommandKind.MemberMoved, sizeof(int) + TextBytes(address));
        writer.PutInt32(id.Value);
        writer.PutText(address);
        into.Advance(writer.Written);
    }

    public static void WriteChanged(IBufferWriter<byte> into, NodeId id, MemberState state)
    {
        var writer = CommandSequence.Begin(into, CommandKind.MemberChanged, sizeof(int) + 1);
        writer.PutInt32(id.Value);
        writer.PutByte((byte)state);
        into.Advance(writer.Written);
    }

    public static void WriteLeaderPlaced(IBufferWriter<byte> into, GroupId shard, NodeId node)
    {
        var writer = CommandSequence.Begin(into, CommandKind.LeaderPlaced, 2 * sizeof(int));
        writer.PutInt32(shard.Value);
        writer.PutInt32(node.Value);
        into.Advance(writer.Written);
    }

    public static void WriteDrained(IBufferWriter<byte> into, NodeId id, bool isDraining)
    {
        var writer = CommandSequence.Begin(into, CommandKind.MemberDrained, sizeof(int) + 1);
        writer.PutInt32(id.Value);
        writer.PutByte(isDraining ? (byte)1 : (byte)0);
        into.Advance(writer.Written);
    }

    public static void WriteShardVoters(IBufferWriter<byte> into, int count, bool keepRecordsAlone = false)
    {
        var writer = CommandSequence.Begin(
            into, keepRecordsAlone ? CommandKind.ShardReplicasSet : CommandKind.ShardVotersSet, sizeof(int));
        writer.PutInt32(count);
        into.Advance(writer.Written);
    }

    public static void WriteShardPlaced(
        IBufferWriter<byte> into, GroupId shard, IReadOnlyCollection<int> voters)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.ShardPlaced, sizeof(int) + sizeof(ushort) + (voters.Count * sizeof(int)));
        writer.PutInt32(shard.Value);
        writer.PutUInt16(checked((ushort)voters.Count));
        foreach (var voter in voters)
        {
            writer.PutInt32(voter);
        }

        into.Advance(writer.Written);
    }

    internal static IReadOnlyList<ClusterMember> ReadFounded(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var members = new ClusterMember[reader.TakeUInt16()];
        for (var i = 0; i < members.Length; i++)
        {
            var id = new NodeId(reader.TakeInt32());
            var name = reader.TakeText();
            members[i] = new ClusterMember(id, name, reader.TakeText(), MemberState.Member)
            {
                Roles = command.Kind == CommandKind.MembersFoundedWithRoles
                    ? (NodeRoles)reader.TakeByte()
                    : NodeRoles.Both,
            };
        }

        reader.CheckEnd();
        return members;
    }

    internal static (Guid StoreId, string Name, string Address, NodeRoles Roles) ReadJoined(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var storeId = reader.TakeGuid();
        var name = reader.TakeText();
        var address = reader.TakeText();
        var roles = command.Kind == CommandKind.MemberJoinedWithRoles ? (NodeRoles)reader.TakeByte() : NodeRoles.Both;
        reader.CheckEnd();
        return (storeId, name, address, roles);
    }

    internal static (NodeId Id, string Address) ReadMoved(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var id = new NodeId(reader.TakeInt32());
        var address = reader.TakeText();
        reader.CheckEnd();
        return (id, address);
    }

    internal static (NodeId Id, MemberState State) ReadChanged(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var id = new NodeId(reader.TakeInt32());
        var state = (MemberState)reader.TakeByte();
        reader.CheckEnd();
        return (id, state);
    }

    internal static (GroupId Shard, NodeId Node) ReadLeaderPlaced(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var shard = new GroupId(reader.TakeInt32());
        var node = new NodeId(reader.TakeInt32());
        reader.CheckEnd();
        return (shard, node);
    }

    internal static (NodeId Id, bool IsDraining) ReadDrained(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var id = new NodeId(reader.TakeInt32());
        var isDraining = reader.TakeByte() == 1;
        reader.CheckEnd();
        return (id, isDraining);
    }

    internal static (int Count, bool KeepRecordsAlone) ReadShardVoters(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var count = reader.TakeInt32();
        reader.CheckEnd();
        return (count, command.Kind == CommandKind.ShardReplicasSet);
    }

    internal static (GroupId Shard, int[] Voters) ReadShardPlaced(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var shard = new GroupId(reader.TakeInt32());
        var voters = new int[reader.TakeUInt16()];
        for (var i = 0; i < voters.Length; i++)
        {
            voters[i] = reader.TakeInt32();
        }

        reader.CheckEnd();
        return (shard, voters);
    }

    private static int TextBytes(string text) => sizeof(ushort) + Encoding.UTF8.GetByteCount(text);
}
