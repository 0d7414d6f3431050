using System.Buffers;
using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>What a command on the policies changes. The numbers are on disk: never reuse one.</summary>
internal enum TopicPolicyChange : byte
{
    PutTemplate = 1,
    DeleteTemplate = 2,
    SetAutoCreate = 3,
}

/// <summary>
/// The payloads of the command on how topics come to be, by its first byte. All numbers are little-endian; settings are
/// as in <see cref="TopicCommands"/>.
/// <code>
/// put template:    01 | u16 partitions, 0 for not set | u8 filter length | filter | u8 which settings are set
///                  | settings
/// delete template: 02 | filter, to the end
/// set auto-create: 03 | u8 1 on, 0 off
/// </code>
/// Auto-create off; and the end of the template for "a.*":
/// <code>
/// 03 00 00 00 | 16 | 03 | 00
/// 05 00 00 00 | 16 | 02 | 61 2E 2A
/// </code>
/// </summary>
internal static class TopicPolicyCommands
{
    public static void WritePutTemplate(IBufferWriter<byte> into, TopicTemplate template)
    {
        var filter = Encoding.UTF8.GetBytes($"{template.Filter}");
        Invariant.Check(filter.Length is > 0 and <= Limits.TopicNameBytes, "a template's filter was validated");
        Invariant.Check(
            template.Partitions is >= 0 and <= Limits.PartitionsPerTopic, "a template's partitions were validated");
        var writer = CommandSequence.Begin(
            into,
            CommandKind.TopicPolicyChanged,
            1 + sizeof(ushort) + 1 + filter.Length + 1
            + TopicSettings.EncodedBytes + template.Settings.CompactionBytes);
        writer.PutByte((byte)TopicPolicyChange.PutTemplate);
        writer.PutUInt16((ushort)template.Partitions);
        writer.PutByte((byte)filter.Length);
        writer.PutBytes(filter);
        writer.PutByte((byte)template.Parts);
        template.Settings.Write(ref writer);
        template.Settings.WriteCompaction(ref writer);
        into.Advance(writer.Written);
    }

    public static void WriteDeleteTemplate(IBufferWriter<byte> into, string filter)
    {
        var bytes = Encoding.UTF8.GetBytes(filter);
        var writer = CommandSequence.Begin(into, CommandKind.TopicPolicyChanged, 1 + bytes.Length);
        writer.PutByte((byte)TopicPolicyChange.DeleteTemplate);
        writer.PutBytes(bytes);
        into.Advance(writer.Written);
    }

    public static void WriteSetAutoCreate(IBufferWriter<byte> into, bool isOn)
    {
        var writer = CommandSequence.Begin(into, CommandKind.TopicPolicyChanged, 2);
        writer.PutByte((byte)TopicPolicyChange.SetAutoCreate);
        writer.PutByte(isOn ? (byte)1 : (byte)0);
        into.Advance(writer.Written);
    }

    public static TopicPolicyChange ReadChange(ref PayloadReader reader)
    {
        var change = (TopicPolicyChange)reader.TakeByte();
        Invariant.Check(Enum.IsDefined(change), "a stored change of policies is one that is known");
        return change;
    }

    /// <summary>How many partitions, the filter, and the settings.</summary>
    public static (int Partitions, string Filter, TopicSettingParts Parts, TopicSettings Settings) ReadPutTemplate(
        ref PayloadReader reader)
    {
        var partitions = reader.TakeUInt16();
        var settings = TopicCommands.ReadTopicSettings(reader);
        return (partitions, Encoding.UTF8.GetString(settings.Topic), settings.Parts, settings.Settings);
    }

    public static string ReadDeleteTemplate(ref PayloadReader reader) => Encoding.UTF8.GetString(reader.Rest);

    public static bool ReadSetAutoCreate(ref PayloadReader reader)
    {
        var isOn = reader.TakeByte() != 0;
        reader.CheckEnd();
        return isOn;
    }
}
