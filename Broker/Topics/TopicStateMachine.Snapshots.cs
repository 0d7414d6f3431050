using System.Buffers;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// A data shard's snapshot, written with <see cref="SnapshotWriter"/>: everything but where the batches are, which
/// index files say. Topics stand in the order of their numbers, which begin at 0.
/// <code>
/// 'T' | u8 format 1 | varint last applied index | varint its timestamp | u64 state hash | varint topics
/// topic: text name | varint next offset | varint records kept before it | varint time of the last batch | producers
/// </code>
/// The producers' bytes are described at ProducerTable. After entry 5 of time 1,000, a hash of 1, a topic "a" with
/// offsets 2 to 6, whose last batch came at time 900, without a producer:
/// <code>
/// 54 01 | 05 | E8 07 | 01 00 00 00 00 00 00 00 | 01 | 01 61 | 07 | 05 | 84 07 | 00
/// </code>
/// </summary>
public sealed partial class TopicStateMachine
{
    private const byte SnapshotKind = (byte)'T';
    private const byte SnapshotFormat = 1;
    private const int LeastTopicBytes = 2 + 1 + 1 + 1 + 1;

    public void WriteSnapshot(IBufferWriter<byte> into)
    {
        var writer = new SnapshotWriter(into);
        writer.PutByte(SnapshotKind);
        writer.PutByte(SnapshotFormat);
        writer.PutVarint(_lastApplied.Value);
        writer.PutVarint(_lastTimestampUnixMs);
        writer.PutUInt64(_hash.Value);
        writer.PutVarint(_topics.Count);
        foreach (var topic in _topics.Numbered)
        {
            var parts = topic.Parts;
            writer.PutText(topic.Name);
            writer.PutVarint(parts.Memory.NextOffset);
            writer.PutVarint(parts.Memory.NextOffset - parts.FirstOffset);
            writer.PutVarint(parts.Memory.LastTimestampUnixMs);
            ProducerTable.Write(topic.Producers, ref writer);
        }

        writer.Finish();
    }

    /// <summary>
    /// As the interface says. Readers go over to the new state; those that wait are told to look again.
    /// </summary>
    public void Restore(ReadOnlySpan<byte> snapshot)
    {
        var topics = new TopicTable();
        var lastApplied = LogIndex.None;
        var lastTimestampUnixMs = 0L;
        var hash = 0UL;
        if (!snapshot.IsEmpty)
        {
            var reader = new SnapshotReader(snapshot);
            reader.Check(reader.TakeByte() == SnapshotKind, "it is one of a data shard");
            reader.Check(reader.TakeByte() == SnapshotFormat, "its format is one that this version knows");
            lastApplied = new LogIndex(reader.TakeVarint(long.MaxValue));
            lastTimestampUnixMs = reader.TakeVarint(long.MaxValue);
            hash = reader.TakeUInt64();
            for (var left = reader.TakeCount(_bounds.Topics, LeastTopicBytes); left > 0; left--)
            {
                var topic = ReadTopic(ref reader, topics.Count, lastTimestampUnixMs);
                reader.Check(topics.TryAdd(topic), "a topic stands in it once");
            }

            reader.CheckEnd();
        }

        _lastApplied = lastApplied;
        _lastTimestampUnixMs = lastTimestampUnixMs;
        _hash = new StateHasher(hash);
        _indexedThrough = lastApplied;
        _firstNeededIsStale = true;
        _producers = 0;
        foreach (var topic in topics.Numbered)
        {
            _producers += topic.Producers?.Count ?? 0;
        }

        Volatile.Write(ref _topics, topics);
        _applied.OnRestored();
    }

    private TopicState ReadTopic(ref SnapshotReader reader, int number, long lastTimestampUnixMs)
    {
        var name = reader.TakeText(Limits.TopicNameBytes);
        var next = reader.TakeVarint(long.MaxValue);
        reader.Check(next > 0, "a topic came to be with a record");
        var kept = reader.TakeVarint(next);
        var timestampUnixMs = reader.TakeVarint(lastTimestampUnixMs);
        var parts = new TopicParts(next - kept, new BatchIndex(next, timestampUnixMs));
        return new TopicState(name, StableHash.Compute(System.Text.Encoding.UTF8.GetBytes(name)), number, parts)
        {
            Producers = ProducerTable.Read(ref reader, _bounds.ProducersPerTopic, next, timestampUnixMs),
        };
    }
}
