using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The payloads of the commands on consumer groups, in the words of <see cref="ClusterCommands"/>.
/// <code>
/// settings:     u8 mode | i32 most deliveries (0: any number) | i32 most outstanding
///               | u8 1: keeps dead letters, 2: paused, and 4 times the order | varint ack wait in ms
///               | u8 filters, u8 waits
///               | text, for each filter | varint ms, for each wait
/// create group: text name | u8 start | varint time of the start in ms | settings
/// update group: text name | u8 parts that change (see ConsumerGroupParts) | settings, of which the others say nothing
/// delete group: text name
/// </code>
/// The group "g" is removed:
/// <code>
/// 04 00 00 00 | 32 | 01 00 67
/// </code>
/// </summary>
public static class ConsumerGroupCommands
{
    /// <summary>The command's result has the group's number as its offset.</summary>
    public static void WriteCreate(
        IBufferWriter<byte> into, string name, ConsumerGroupSettings settings, GroupStart start)
    {
        var writer = CommandSequence.Begin(
            into,
            CommandKind.CreateConsumerGroup,
            TextBytes(name) + 1 + VarintBytes(start.TimeUnixMs) + SettingsBytes(settings));
        writer.PutText(name);
        writer.PutByte((byte)start.Kind);
        writer.PutVarint((ulong)start.TimeUnixMs);
        Put(ref writer, settings);
        into.Advance(writer.Written);
    }

    public static void WriteUpdate(
        IBufferWriter<byte> into, string name, ConsumerGroupParts parts, ConsumerGroupSettings settings)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.UpdateConsumerGroup, TextBytes(name) + 1 + SettingsBytes(settings));
        writer.PutText(name);
        writer.PutByte((byte)parts);
        Put(ref writer, settings);
        into.Advance(writer.Written);
    }

    public static void WriteDelete(IBufferWriter<byte> into, string name)
    {
        var writer = CommandSequence.Begin(into, CommandKind.DeleteConsumerGroup, TextBytes(name));
        writer.PutText(name);
        into.Advance(writer.Written);
    }

    internal static (string Name, GroupStart Start, ConsumerGroupSettings Settings) ReadCreate(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var name = reader.TakeText();
        var start = new GroupStart((GroupStartKind)reader.TakeByte(), (long)reader.TakeVarint());
        var settings = TakeSettings(ref reader);
        reader.CheckEnd();
        return (name, start, settings);
    }

    internal static (string Name, ConsumerGroupParts Parts, ConsumerGroupSettings Settings) ReadUpdate(
        in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var name = reader.TakeText();
        var parts = (ConsumerGroupParts)reader.TakeByte();
        var settings = TakeSettings(ref reader);
        reader.CheckEnd();
        return (name, parts, settings);
    }

    internal static string ReadDelete(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var name = reader.TakeText();
        reader.CheckEnd();
        return name;
    }

    private static void Put(ref PayloadWriter writer, ConsumerGroupSettings settings)
    {
        writer.PutByte((byte)settings.Mode);
        writer.PutInt32(settings.MaxDeliveries);
        writer.PutInt32(settings.MaxOutstanding);
        writer.PutByte(settings.Flags);
        writer.PutVarint((ulong)settings.AckWaitMs);
        writer.PutByte(checked((byte)settings.Filters.Length));
        writer.PutByte(checked((byte)settings.BackOffMs.Length));
        foreach (var filter in settings.Filters)
        {
            writer.PutText(filter);
        }

        foreach (var wait in settings.BackOffMs)
        {
            writer.PutVarint((ulong)wait);
        }
    }

    private static ConsumerGroupSettings TakeSettings(ref PayloadReader reader)
    {
        var mode = (ConsumerGroupMode)reader.TakeByte();
        var (deliveries, outstanding) = (reader.TakeInt32(), reader.TakeInt32());
        var flags = reader.TakeByte();
        var ackWaitMs = (long)reader.TakeVarint();
        var filters = new string[reader.TakeByte()];
        var waits = new long[reader.TakeByte()];
        for (var i = 0; i < filters.Length; i++)
        {
            filters[i] = reader.TakeText();
        }

        for (var i = 0; i < waits.Length; i++)
        {
            waits[i] = (long)reader.TakeVarint();
        }

        return new ConsumerGroupSettings
        {
            Filters = ImmutableArray.Create(filters),
            Mode = mode,
            AckWaitMs = ackWaitMs,
            MaxDeliveries = deliveries,
            BackOffMs = ImmutableArray.Create(waits),
            MaxOutstanding = outstanding,
            Flags = flags,
        };
    }

    private static int SettingsBytes(ConsumerGroupSettings settings) =>
        1 + (2 * sizeof(int)) + 1 + VarintBytes(settings.AckWaitMs) + 2
        + settings.Filters.Sum(TextBytes) + settings.BackOffMs.Sum(VarintBytes);

    private static int TextBytes(string text) => sizeof(ushort) + Encoding.UTF8.GetByteCount(text);

    private static int VarintBytes(long value)
    {
        var bytes = 1;
        for (var rest = (ulong)value >> 7; rest > 0; rest >>= 7)
        {
            bytes++;
        }

        return bytes;
    }
}
