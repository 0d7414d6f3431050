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
///        | partitions
/// partitions: varint 0 for a topic of one; 1 for a partition other than the first: varint number of its topic in the
///        shard of the first; else how many it has: for each but the first varint its number in its shard, plus 1,
///        or 0 when it is not made yet
/// </code>
/// In format 2 no topic had several partitions. In format 1 there were neither numbers (all counted from 0) nor
/// settings. The bytes of the settings are described at TopicSettings, those of the producers at ProducerTable. Topic
/// 3, "a", with offsets 2 to 6, whose last batch came at time 900, with default settings and without a producer:
/// <code>
/// 04 | 01 | 03 | 01 61 | 00 00 00 80 80 40 | 00 | 07 | 05 | 84 07 | 00 | 00
/// </code>
/// </summary>
public sealed partial class TopicModule
{
    private const byte WithoutSettings = 1;
    private const byte WithSettings = 2;
    private const byte WithPartitions = 3;
    private const int LeastTopicBytes = 2 + 1 + 1 + 1 + 1;

    internal override void Write(ref SnapshotWriter writer)
    {
        writer.PutVarint(_topics.NextNumber);
        writer.PutVarint(_topics.Count);
        foreach (var topic in _topics.Numbered)
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
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(
            format is >= WithoutSettings and <= WithPartitions, "the topics' section has a format that is known");
        var hasSettings = format >= WithSettings;
        var topics = new TopicTable(hasSettings ? (int)reader.TakeVarint(int.MaxValue) : 0);
        var before = -1;
        for (var left = reader.TakeCount(_bounds.Topics, LeastTopicBytes); left > 0; left--)
        {
            var number = before + 1;
            if (hasSettings)
            {
                number = (int)reader.TakeVarint(topics.NextNumber - 1);
                reader.Check(number > before, "topics stand in the order of their numbers");
            }

            before = number;
            var topic = ReadTopic(ref reader, number, format, moment.TimestampUnixMs);
            reader.Check(topics.TryAdd(topic), "a topic stands in it once");
        }

        var through = moment.Index;
        return () => Put(topics, through);
    }

    internal override void Clear() => Put(new TopicTable(), LogIndex.None);

    internal override void EndRestore() => _applied.OnRestored();

    /// <summary>Readers go over to the new state; those that wait are told to look again.</summary>
    private void Put(TopicTable topics, LogIndex through)
    {
        _indexedThrough = _restoredThrough = through;
        _incomplete.Clear();
        _firstNeededIsStale = true;
        _producers = 0;
        _retention.Clear();
        _partitions.Clear();
        foreach (var topic in topics.Numbered)
        {
            _producers += topic.Producers?.Count ?? 0;
            _retention.Note(topic, TopicSettings.Default);
            _partitions.Add(topic);
        }

        Volatile.Write(ref _topics, topics);
    }

    private TopicState ReadTopic(
        ref SnapshotReader reader, int number, byte format, long lastTimestampUnixMs)
    {
        var hasSettings = format >= WithSettings;
        var name = reader.TakeText(Limits.TopicNameBytes);
        var settings = hasSettings ? TopicSettings.Read(ref reader) : TopicSettings.Default;
        var version = hasSettings ? (int)reader.TakeVarint(int.MaxValue) : 0;
        var next = reader.TakeVarint(long.MaxValue);
        var kept = reader.TakeVarint(next);
        var timestampUnixMs = reader.TakeVarint(lastTimestampUnixMs);
        var parts = new TopicParts(next - kept, new BatchIndex(next, timestampUnixMs));
        var producers = ProducerTable.Read(ref reader, _bounds.ProducersPerTopic, next, timestampUnixMs);
        var (partitionOf, partitions) = format >= WithPartitions ? PartitionList.Read(ref reader, number) : (-1, null);
        return new TopicState(name, StableHash.Compute(Encoding.UTF8.GetBytes(name)), number, parts, settings)
        {
            SettingsVersion = version,
            Producers = producers,
            PartitionOf = partitionOf,
            Partitions = partitions,
        };
    }
}
