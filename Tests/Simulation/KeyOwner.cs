using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client that publishes records with keys, and deletes keys, in a topic that keeps the last record of each. It does
/// not wait for answers: what is stored <see cref="KeyedTopic"/> sees, and knows what readers must get of it.
/// </summary>
internal sealed class KeyOwner(SimulatedGroup group)
{
    public const string Topic = "keyed";

    private const int MaxBatchRecords = 4;

    /// <summary>Of those that are longer than a mark, two have the same beginning.</summary>
    private static readonly string[] Keys =
        ["", "a", "b", "c", "fifteen bytes..", "the key with many bytes, 1", "the key with many bytes, 2"];

    private World World => group.World;

    private Random Random => World.Random;

    public void Begin() => World.Scheduler.After(Random.NextInt64(3 * World.ProposeIntervalMaxUs), () =>
    {
        if (World.ClientsAreDone)
        {
            return;
        }

        var leaders = group.Nodes.OfType<ReplicaNode>().Where(static node => node.IsLeader).ToArray();
        if (leaders.Length > 0 && !World.ClientsRest)
        {
            Act(leaders[Random.Next(leaders.Length)]);
        }

        Begin();
    });

    private void Act(ReplicaNode leader)
    {
        switch (Random.Next(60))
        {
            case 0:
                Propose(leader, into => TopicCommands.WriteDeleteTopic(into, Topic));
                break;
            case 1 when leader.Topics.TryGetTopic(Topic, out var topic):
                var before = topic.FirstOffset + Random.NextInt64(topic.NextOffset - topic.FirstOffset + 1);
                Propose(leader, into => TopicCommands.WritePurgeTopic(into, Topic, before));
                break;
            case 2 or 3:
                var settings = Draw();
                Propose(leader, into => TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings));
                break;
            case < 8 when !leader.Topics.TryGetTopic(Topic, out _):
                Propose(leader, into => TopicCommands.WriteCreateTopic(into, Topic, Draw()));
                break;
            default:
                var number = World.NextValue();
                leader.Propose(Encode(number), number, static (_, _) => { });
                break;
        }
    }

    private TopicSettings Draw() => new()
    {
        Compact = Random.Next(8) > 0,
        CompactAfterMs = Random.Next(3) == 0 ? Random.Next(3_000) : 0,
        DeleteMarkerMs = Random.Next(3) * Random.Next(4_000),
    };

    private static void Propose(ReplicaNode leader, Action<IBufferWriter<byte>> write) =>
        leader.Propose(StepClient.Encode(write), null, static (_, _) => { });

    private byte[] Encode(long number)
    {
        var batch = new ArrayBufferWriter<byte>();
        var count = Random.Next(1, MaxBatchRecords + 1);
        for (var i = 0; i < count; i++)
        {
            Write(batch, Keys[Random.Next(Keys.Length)], isMarker: Random.Next(4) == 0, number);
        }

        var command = new byte[TopicCommands.PublishSizeBytes(Topic, batch.WrittenCount)];
        TopicCommands.WritePublish(command, Topic, PublishStamp.None, count, batch.WrittenSpan);
        return command;
    }

    /// <summary>The number stands in a header, at the end: a delete marker has no value.</summary>
    private static void Write(ArrayBufferWriter<byte> batch, string key, bool isMarker, long number)
    {
        var header = new byte[sizeof(ushort) + sizeof(ushort) + sizeof(long)];
        ((ReadOnlySpan<byte>)[0x1A, 0x0A, 0x12, 0x08]).CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(sizeof(uint)), number);
        byte[] value = isMarker ? [] : [0x12, 0x01, 0x76];
        byte[] keyed = key.Length == 0 ? [] : [0x0A, (byte)key.Length, .. Encoding.ASCII.GetBytes(key)];
        byte[] record = [.. keyed, .. value, .. header];
        var framed = batch.GetSpan(RecordBatchScanner.FramedBytes(record.Length));
        batch.Advance(RecordBatchScanner.WriteRecord(record, framed));
    }
}
