using System.Buffers;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The payloads of the commands on delayed records; <see cref="TopicCommands"/> has the publish. Numbers are
/// little-endian.
/// <code>
/// delay due:      i32 number of the topic | batch of references (<see cref="DueTopic"/>), to the end
/// cancel delayed: i32 number of the topic | i64 offsets, to the end
/// </code>
/// Offset 7 of topic 3 is due:
/// <code>
/// 11 00 00 00 | 17 | 03 00 00 00 | 0A 0A 12 08 07 00 00 00 00 00 00 00
/// </code>
/// </summary>
internal static class DelayCommands
{
    public static void WriteDue(IBufferWriter<byte> into, int topic, IReadOnlyList<long> offsets)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.DelayDue, sizeof(int) + (offsets.Count * DueTopic.ReferenceBytes));
        writer.PutInt32(topic);
        Span<byte> reference = stackalloc byte[DueTopic.ReferenceBytes];
        foreach (var offset in offsets)
        {
            DueTopic.WriteReference(reference, offset);
            writer.PutBytes(reference);
        }

        into.Advance(writer.Written);
    }

    public static DelayDueCommand ReadDue(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var topic = reader.TakeInt32();
        var references = reader.Rest;
        Invariant.Check(
            references.Length > 0 && references.Length % DueTopic.ReferenceBytes == 0, "what is due is named");
        return new DelayDueCommand
        {
            Topic = topic,
            References = references,
            Position = command.PayloadPosition + command.Payload.Length - references.Length,
        };
    }

    public static void WriteCancel(IBufferWriter<byte> into, int topic, IReadOnlyCollection<long> offsets)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.CancelDelayed, sizeof(int) + (offsets.Count * sizeof(long)));
        writer.PutInt32(topic);
        foreach (var offset in offsets)
        {
            writer.PutUInt64((ulong)offset);
        }

        into.Advance(writer.Written);
    }

    public static (int Topic, long[] Offsets) ReadCancel(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var topic = reader.TakeInt32();
        var offsets = new long[reader.Rest.Length / sizeof(long)];
        for (var i = 0; i < offsets.Length; i++)
        {
            offsets[i] = (long)reader.TakeUInt64();
        }

        reader.CheckEnd();
        return (topic, offsets);
    }
}

/// <summary>Records of a topic are due.</summary>
internal readonly ref struct DelayDueCommand
{
    public required int Topic { get; init; }

    /// <summary>A batch, see <see cref="DueTopic"/>.</summary>
    public required ReadOnlySpan<byte> References { get; init; }

    /// <summary>Where it begins within the entry's body.</summary>
    public required int Position { get; init; }

    public int Count => References.Length / DueTopic.ReferenceBytes;
}
