using System.Globalization;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;

namespace Broker.Delivery;

/// <summary>
/// Dead letters of a group are records of the topic "$dlq.{group}", of which each data shard has a partition: a record
/// is buried in its own shard, with the same entry that settles it. Headers in front of the record's own say where it
/// comes from.
/// </summary>
internal static class DeadLetters
{
    private const string Prefix = "$dlq.";
    private const string TopicHeader = "dlq-topic";
    private const string PartitionHeader = "dlq-partition";
    private const string OffsetHeader = "dlq-offset";
    private const string TimestampHeader = "dlq-timestamp";
    private const string AttemptsHeader = "dlq-attempts";
    private const string ReasonHeader = "dlq-reason";
    private const int OwnHeaders = 6;

    public static string TopicOf(string group) => Prefix + group;

    /// <summary>Whose dead letters a topic of this name holds; null: it is none of these.</summary>
    public static string? GroupOf(string topic) =>
        topic.StartsWith(Prefix, StringComparison.Ordinal) && topic.Length > Prefix.Length
            ? topic[Prefix.Length..]
            : null;

    /// <summary>Which partition of its dead letters a shard has, and under which name.</summary>
    public static (int Partition, string Place) PlaceOf(string group, GroupId shard, ShardMap shards)
    {
        var topic = TopicOf(group);
        var partition = shards.FirstPartitionIn(shards.GroupOf(topic), shard);
        return (partition, PartitionName.Of(topic, partition));
    }

    /// <summary>
    /// A batch with a copy of a record that is given up. A dead letter that dies again keeps where it came from.
    /// </summary>
    public static byte[] Bury(
        ReadOnlySpan<byte> batch, RecordOrigin origin, bool isDeadLetter, int attempts, string reason)
    {
        var record = RecordBatch.Parser.ParseFrom(batch).Records[0];
        if (isDeadLetter)
        {
            origin = TakeOrigin(record, out _, out _) ?? origin;
        }

        var copy = new Record { Key = record.Key, Value = record.Value, Priority = record.Priority };
        copy.Headers.Add(
        [
            Header(TopicHeader, origin.Topic),
            Header(PartitionHeader, origin.Partition),
            Header(OffsetHeader, origin.Offset),
            Header(TimestampHeader, origin.TimestampUnixMs),
            Header(AttemptsHeader, attempts),
            Header(ReasonHeader, reason),
        ]);
        copy.Headers.Add(record.Headers);
        return new RecordBatch { Records = { copy } }.ToByteArray();
    }

    /// <summary>
    /// The record that was buried, as it was published, and where that was; null: it is no dead letter.
    /// </summary>
    public static RecordOrigin? TakeOrigin(Record record, out int attempts, out string reason)
    {
        (attempts, reason) = (0, "");
        if (record.Headers.Count < OwnHeaders || record.Headers[0].Name != TopicHeader
            || !TryRead(record, 1, PartitionHeader, out var partition)
            || !TryRead(record, 2, OffsetHeader, out var offset)
            || !TryRead(record, 3, TimestampHeader, out var timestamp)
            || !TryRead(record, 4, AttemptsHeader, out var tries)
            || record.Headers[5].Name != ReasonHeader)
        {
            return null;
        }

        var topic = record.Headers[0].Value.ToStringUtf8();
        (attempts, reason) = ((int)tries, record.Headers[5].Value.ToStringUtf8());
        for (var i = 0; i < OwnHeaders; i++)
        {
            record.Headers.RemoveAt(0);
        }

        return new RecordOrigin(topic, (int)partition, offset, timestamp);
    }

    private static bool TryRead(Record record, int at, string name, out long value)
    {
        value = 0;
        return record.Headers[at].Name == name
            && long.TryParse(record.Headers[at].Value.Span, NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }

    private static Header Header(string name, long value) =>
        Header(name, value.ToString(CultureInfo.InvariantCulture));

    private static Header Header(string name, string value) =>
        new() { Name = name, Value = ByteString.CopyFromUtf8(value) };
}

/// <summary>Where a record was published.</summary>
/// <param name="Topic">The topic's name.</param>
/// <param name="Partition">From 0.</param>
/// <param name="Offset">Its offset there.</param>
/// <param name="TimestampUnixMs">The batch's time.</param>
internal readonly record struct RecordOrigin(string Topic, int Partition, long Offset, long TimestampUnixMs);
