using System.Text;

namespace Broker.Client;

/// <summary>
/// Reads broker.v1.RecordBatch without objects between: keys and values are slices of the batch. The layout is shown at
/// <see cref="RecordBatchEncoder"/>. Unknown fields are skipped, as protobuf demands.
/// </summary>
internal static class RecordBatchDecoder
{
    /// <summary>The bytes of the next record; false at the batch's end.</summary>
    public static bool TryNext(ReadOnlyMemory<byte> batch, ref int at, out ReadOnlyMemory<byte> record)
    {
        while (at < batch.Length)
        {
            if (TryReadField(batch, ref at, out var field, out record, out _) && field == 1)
            {
                return true;
            }
        }

        record = default;
        return false;
    }

    public static BrokerRecord Decode(
        ReadOnlyMemory<byte> record, string topic, long offset, DateTimeOffset timestamp, int partition = 0)
    {
        ReadOnlyMemory<byte> key = default, value = default;
        List<KeyValuePair<string, ReadOnlyMemory<byte>>>? headers = null;
        TimeSpan? timeToLive = null;
        DateTimeOffset? deliverAt = null;
        var priority = 0;
        var at = 0;
        while (at < record.Length)
        {
            if (!TryReadField(record, ref at, out var field, out var content, out var number))
            {
                timeToLive = field == 4 && number is { } ms ? TimeToLive(ms) : timeToLive;
                deliverAt = field == 5 && number is { } time ? Time(time) : deliverAt;
                priority = field == 6 && number is { } level ? (int)Math.Min(level, 9) : priority;
                continue;
            }

            switch (field)
            {
                case 1:
                    key = content;
                    break;
                case 2:
                    value = content;
                    break;
                case 3:
                    (headers ??= []).Add(DecodeHeader(content));
                    break;
                default:
                    break;
            }
        }

        return new BrokerRecord
        {
            Topic = topic,
            Partition = partition,
            Offset = offset,
            Timestamp = timestamp,
            Key = key,
            Value = value,
            Headers = headers is null ? [] : headers,
            TimeToLive = timeToLive,
            DeliverAt = deliverAt,
            Priority = priority,
        };
    }

    /// <summary>What lies beyond what a TimeSpan holds, 29,000 years, is never over.</summary>
    private static TimeSpan? TimeToLive(ulong ms) => ms == 0 ? null
        : ms < (ulong)(TimeSpan.MaxValue.Ticks / TimeSpan.TicksPerMillisecond) ? TimeSpan.FromMilliseconds((long)ms, 0)
        : TimeSpan.MaxValue;

    /// <summary>What lies beyond the year 9999 is its end.</summary>
    private static DateTimeOffset? Time(ulong unixMs) => unixMs == 0 ? null
        : unixMs < (ulong)DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()
            ? DateTimeOffset.FromUnixTimeMilliseconds((long)unixMs)
        : DateTimeOffset.MaxValue;

    private static KeyValuePair<string, ReadOnlyMemory<byte>> DecodeHeader(ReadOnlyMemory<byte> header)
    {
        var name = string.Empty;
        ReadOnlyMemory<byte> value = default;
        var at = 0;
        while (at < header.Length)
        {
            if (TryReadField(header, ref at, out var field, out var content, out _))
            {
                name = field == 1 ? Encoding.UTF8.GetString(content.Span) : name;
                value = field == 2 ? content : value;
            }
        }

        return new(name, value);
    }

    /// <summary>
    /// Reads one field; false when it was one without bytes: then number is its value, or null if it was skipped.
    /// </summary>
    private static bool TryReadField(
        ReadOnlyMemory<byte> message,
        ref int at,
        out int field,
        out ReadOnlyMemory<byte> content,
        out ulong? number)
    {
        var span = message.Span;
        var tag = ReadVarint(span, ref at);
        field = (int)(tag >> 3);
        content = default;
        number = null;
        switch (tag & 7)
        {
            case 0:
                number = ReadVarint(span, ref at);
                return false;
            case 1:
                Skip(span, ref at, 8);
                return false;
            case 2:
                var length = ReadVarint(span, ref at);
                var start = at;
                Skip(span, ref at, length);
                content = message[start..at];
                return true;
            case 5:
                Skip(span, ref at, 4);
                return false;
            default:
                throw Malformed();
        }
    }

    private static void Skip(ReadOnlySpan<byte> span, ref int at, ulong length)
    {
        if (length > (ulong)(span.Length - at))
        {
            throw Malformed();
        }

        at += (int)length;
    }

    private static ulong ReadVarint(ReadOnlySpan<byte> span, ref int at)
    {
        ulong value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            if (at >= span.Length)
            {
                throw Malformed();
            }

            var next = span[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }

        throw Malformed();
    }

    private static InvalidDataException Malformed() => new("The batch is not an encoded broker.v1.RecordBatch.");
}

/// <summary>Walks through the records of one stored batch, from an offset on.</summary>
internal sealed class RecordCursor(
    string topic, int partition, Protocol.Wire.StoredBatch batch, long fromOffset)
{
    private readonly DateTimeOffset _timestamp = DateTimeOffset.FromUnixTimeMilliseconds(batch.TimestampUnixMs);
    private readonly ReadOnlyMemory<byte> _bytes = batch.Batch.Memory;
    private long _offset = batch.BaseOffset;
    private int _at;

    public bool TryNext(out BrokerRecord record)
    {
        while (RecordBatchDecoder.TryNext(_bytes, ref _at, out var bytes))
        {
            var offset = _offset++;
            if (offset >= fromOffset)
            {
                record = RecordBatchDecoder.Decode(bytes, topic, offset, _timestamp, partition);
                return true;
            }
        }

        record = null!;
        return false;
    }
}
