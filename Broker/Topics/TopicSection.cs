using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The topics' section of a snapshot: everything but where the batches are, which index files say. Topics stand in the
/// order of their numbers, which begin at 0.
/// <code>
/// varint the next topic's number | varint topics
/// topic: varint number | text name | settings | varint how often they were changed
///        | varint next offset | varint records kept before it | varint time of the last batch | producers
///        | partitions | varint offset to which it was compacted | varint time of the newest delete markers gone
/// partitions: varint 0 for a topic of one; 1 for a partition other than the first: varint number of its topic in the
///        shard of the first; else how many it has: for each but the first varint its number in its shard, plus 1,
///        or 0 when it is not made yet
/// </code>
/// In format 3 no topic was compacted, nor had settings for it; in format 2 none had several partitions; in format 1
/// there were neither numbers (all counted from 0) nor settings. The bytes of the settings are described at
/// TopicSettings, those of the producers at ProducerTable. Topic 3, "a", with offsets 2 to 6, whose last batch came at
/// time 900, with default settings and without a producer:
/// <code>
/// 04 | 01 | 03 | 01 61 | 00 00 00 80 80 40 00 00 80 B8 99 29 | 00 | 07 | 05 | 84 07 | 00 | 00 | 00 00
/// </code>
/// </summary>
internal static class TopicSection
{
    public const byte Format = WithCompaction;

    private const byte WithoutSettings = 1;
    private const byte WithSettings = 2;
    private const byte WithPartitions = 3;
    private const byte WithCompaction = 4;
    private const int LeastTopicBytes = 2 + 1 + 1 + 1 + 1;

    public static void Write(TopicTable topics, ref SnapshotWriter writer)
    {
        writer.PutVarint(topics.NextNumber);
        writer.PutVarint(topics.Count);
        foreach (var topic in topics.Numbered)
        {
            var parts = topic.Parts;
            writer.PutVarint(topic.Number);
            writer.PutText(topic.Name);
            topic.Settings.Write(ref writer);
            writer.PutVarint(topic.SettingsVersion);
            writer.PutVarint(parts.Memory.NextOffset);
            writer.PutVarint(parts.Memory.NextOffset - parts.FirstOffset);
            writer.PutVarint(parts.Memory.LastTimestampUnixMs);
            ProducerTable.Write(topic.Producers, ref writer);
            PartitionList.Write(topic, ref writer);
            writer.PutVarint(topic.Compacted.Through);
            writer.PutVarint(topic.Compacted.MarkersMs);
        }
    }

    /// <exception cref="InvalidDataException">It is malformed, or of a format that is not known.</exception>
    public static TopicTable Read(
        ref SnapshotReader reader, byte format, TopicBounds bounds, long lastTimestampUnixMs)
    {
        reader.Check(
            format is >= WithoutSettings and <= Format, "the topics' section has a format that is known");
        var hasSettings = format >= WithSettings;
        var topics = new TopicTable(hasSettings ? (int)reader.TakeVarint(int.MaxValue) : 0);
        var before = -1;
        // Each topic may have one of what is due, which no bound counts.
        for (var left = reader.TakeCount(2 * bounds.Topics, LeastTopicBytes); left > 0; left--)
        {
            var number = before + 1;
            if (hasSettings)
            {
                number = (int)reader.TakeVarint(topics.NextNumber - 1);
                reader.Check(number > before, "topics stand in the order of their numbers");
            }

            before = number;
            var topic = ReadTopic(ref reader, number, format, bounds, lastTimestampUnixMs);
            reader.Check(topics.TryAdd(topic), "a topic stands in it once");
        }

        return topics;
    }

    private static TopicState ReadTopic(
        ref SnapshotReader reader, int number, byte format, TopicBounds bounds, long lastTimestampUnixMs)
    {
        var hasSettings = format >= WithSettings;
        var name = reader.TakeText(Limits.TopicNameBytes + DueTopic.MoreNameBytes);
        var settings = hasSettings
            ? TopicSettings.Read(ref reader, format >= WithCompaction)
            : TopicSettings.Default;
        var version = hasSettings ? (int)reader.TakeVarint(int.MaxValue) : 0;
        var next = reader.TakeVarint(long.MaxValue);
        var kept = reader.TakeVarint(next);
        var timestampUnixMs = reader.TakeVarint(lastTimestampUnixMs);
        var parts = new TopicParts(next - kept, new BatchIndex(next, timestampUnixMs));
        var producers = ProducerTable.Read(ref reader, bounds.ProducersPerTopic, next, timestampUnixMs);
        var (partitionOf, partitions) = format >= WithPartitions ? PartitionList.Read(ref reader, number) : (-1, null);
        var compacted = format >= WithCompaction
            ? new CompactedTo(reader.TakeVarint(next), reader.TakeVarint(lastTimestampUnixMs))
            : CompactedTo.Nothing;
        return new TopicState(name, StableHash.Compute(Encoding.UTF8.GetBytes(name)), number, parts, settings)
        {
            SettingsVersion = version,
            Producers = producers,
            PartitionOf = partitionOf,
            Partitions = partitions,
            Compacted = compacted,
        };
    }
}
