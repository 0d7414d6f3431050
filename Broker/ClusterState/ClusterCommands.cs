using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The payloads of the commands on the cluster itself; <see cref="CommandSequence"/> has what stands around them. A
/// text is a u16 length and UTF-8; a Guid is 16 bytes, big-endian.
/// <code>
/// cluster created:          cluster id
/// node registered:          i32 node id | store id | text name
/// node replaced:            the same, with the new store id
/// put live subscription:    text name | u16 filters | text filter, for each
/// delete live subscription: text name
/// </code>
/// Node 2 named "b" registering store 00112233-4455-6677-8899-aabbccddeeff:
/// <code>
/// 18 00 00 00 | 11 | 02 00 00 00 | 00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF | 01 00 62
/// </code>
/// </summary>
public static class ClusterCommands
{
    public static void WriteClusterCreated(IBufferWriter<byte> into, Guid clusterId)
    {
        var writer = CommandSequence.Begin(into, CommandKind.ClusterCreated, CommandSequence.GuidBytes);
        writer.PutGuid(clusterId);
        into.Advance(writer.Written);
    }

    public static void WriteNodeRegistered(IBufferWriter<byte> into, NodeRegistration node) =>
        WriteNode(into, CommandKind.NodeRegistered, node);

    public static void WriteNodeReplaced(IBufferWriter<byte> into, NodeRegistration node) =>
        WriteNode(into, CommandKind.NodeReplaced, node);

    private static void WriteNode(IBufferWriter<byte> into, CommandKind kind, NodeRegistration node)
    {
        var writer = CommandSequence.Begin(into, kind, sizeof(int) + CommandSequence.GuidBytes + TextBytes(node.Name));
        writer.PutInt32(node.Id.Value);
        writer.PutGuid(node.StoreId);
        writer.PutText(node.Name);
        into.Advance(writer.Written);
    }

    public static void WritePutLiveSubscription(IBufferWriter<byte> into, string name, IReadOnlyList<string> filters)
    {
        var payloadBytes = TextBytes(name) + sizeof(ushort) + filters.Sum(TextBytes);
        var writer = CommandSequence.Begin(into, CommandKind.PutLiveSubscription, payloadBytes);
        writer.PutText(name);
        writer.PutUInt16(checked((ushort)filters.Count));
        foreach (var filter in filters)
        {
            writer.PutText(filter);
        }

        into.Advance(writer.Written);
    }

    public static void WriteDeleteLiveSubscription(IBufferWriter<byte> into, string name)
    {
        var writer = CommandSequence.Begin(into, CommandKind.DeleteLiveSubscription, TextBytes(name));
        writer.PutText(name);
        into.Advance(writer.Written);
    }

    internal static Guid ReadClusterCreated(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var id = reader.TakeGuid();
        reader.CheckEnd();
        return id;
    }

    /// <summary>Of a command that registers a node or replaces its disk.</summary>
    internal static NodeRegistration ReadNodeRegistered(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var id = new NodeId(reader.TakeInt32());
        var store = reader.TakeGuid();
        var node = new NodeRegistration(id, reader.TakeText(), store);
        reader.CheckEnd();
        return node;
    }

    internal static LiveSubscription ReadPutLiveSubscription(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var name = reader.TakeText();
        var filters = ImmutableArray.CreateBuilder<string>(reader.TakeUInt16());
        for (var i = 0; i < filters.Capacity; i++)
        {
            filters.Add(reader.TakeText());
        }

        reader.CheckEnd();
        return new LiveSubscription(name, filters.MoveToImmutable());
    }

    internal static string ReadDeleteLiveSubscription(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var name = reader.TakeText();
        reader.CheckEnd();
        return name;
    }

    private static int TextBytes(string text) => sizeof(ushort) + Encoding.UTF8.GetByteCount(text);
}
