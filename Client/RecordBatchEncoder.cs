using System.Diagnostics;
using System.Numerics;
using System.Text;

namespace Broker.Client;

/// <summary>
/// Writes the protobuf message broker.v1.RecordBatch by hand: the bytes that are sent, stored, replicated and read
/// back. They equal what Google.Protobuf writes for the same records. Two records, the first with value "hi", the
/// second with key "k" and value "v":
/// <code>
/// 0a 04            records, 4 bytes
///    12 02 68 69   value "hi"
/// 0a 06            records, 6 bytes
///    0a 01 6b      key "k"
///    12 01 76      value "v"
/// </code>
/// </summary>
public static class RecordBatchEncoder
{
    private const byte RecordsTag = 0x0A;
    private const byte KeyTag = 0x0A;
    private const byte ValueTag = 0x12;
    private const byte HeadersTag = 0x1A;
    private const byte TimeToLiveTag = 0x20;
    private const byte DeliverAtTag = 0x28;
    private const byte PriorityTag = 0x30;
    private const byte HeaderNameTag = 0x0A;
    private const byte HeaderValueTag = 0x12;

    /// <summary>Encodes messages as one batch.</summary>
    /// <param name="messages">At least one message.</param>
    /// <returns>The encoded batch, for <see cref="BrokerClient.PublishBatchAsync"/>.</returns>
    /// <exception cref="ArgumentException">
    /// There is no message, or one breaks a limit of <see cref="BrokerMessage"/>.
    /// </exception>
    public static byte[] Encode(IReadOnlyList<BrokerMessage> messages)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (messages.Count == 0)
        {
            throw new ArgumentException("A batch holds at least one message.", nameof(messages));
        }

        long total = 0;
        for (var i = 0; i < messages.Count; i++)
        {
            if (MessageLimits.Violation(messages[i]) is { } violation)
            {
                throw new ArgumentException($"Message {i} of the batch: {violation}", nameof(messages));
            }

            total += SizeBytes(messages[i]);
        }

        var bytes = new byte[checked((int)total)];
        var position = 0;
        for (var i = 0; i < messages.Count; i++)
        {
            position += Write(messages[i], bytes.AsSpan(position));
        }

        return bytes;
    }

    /// <summary>The bytes that a message takes in a batch.</summary>
    /// <param name="message">The message.</param>
    /// <returns>Its size with tag and length.</returns>
    public static int SizeBytes(BrokerMessage message)
    {
        ArgumentNullException.ThrowIfNull(message);
        var record = RecordBytes(message);
        return 1 + VarintBytes(record) + record;
    }

    /// <summary>
    /// Writes one message as a record of a batch. Records of a batch stand one behind the other, without a frame.
    /// </summary>
    /// <param name="message">The message.</param>
    /// <param name="destination">At least <see cref="SizeBytes"/> bytes.</param>
    /// <returns>The number of bytes written.</returns>
    public static int Write(BrokerMessage message, Span<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(message);
        var record = RecordBytes(message);
        destination[0] = RecordsTag;
        var at = 1 + WriteVarint(destination[1..], record);
        var end = at + record;
        at += WriteBytes(KeyTag, message.Key.Span, destination[at..]);
        at += WriteBytes(ValueTag, message.Value.Span, destination[at..]);
        if (message.Headers is { } headers)
        {
            for (var i = 0; i < headers.Count; i++)
            {
                at += WriteHeader(headers[i], destination[at..]);
            }
        }

        if (message.TimeToLive is { } time)
        {
            destination[at++] = TimeToLiveTag;
            at += WriteVarint(destination[at..], Milliseconds(time));
        }

        if (DeliverAtMilliseconds(message) is > 0 and var deliverAt)
        {
            destination[at++] = DeliverAtTag;
            at += WriteVarint(destination[at..], deliverAt);
        }

        if (message.Priority > 0)
        {
            destination[at++] = PriorityTag;
            destination[at++] = (byte)message.Priority;
        }

        Debug.Assert(at == end, "the measured size is the written size");
        return at;
    }

    private static int WriteHeader(KeyValuePair<string, ReadOnlyMemory<byte>> header, Span<byte> destination)
    {
        destination[0] = HeadersTag;
        var at = 1 + WriteVarint(destination[1..], HeaderBytes(header));
        var nameBytes = Encoding.UTF8.GetByteCount(header.Key);
        if (nameBytes > 0)
        {
            destination[at++] = HeaderNameTag;
            at += WriteVarint(destination[at..], nameBytes);
            at += Encoding.UTF8.GetBytes(header.Key, destination[at..]);
        }

        return at + WriteBytes(HeaderValueTag, header.Value.Span, destination[at..]);
    }

    private static int WriteBytes(byte tag, ReadOnlySpan<byte> value, Span<byte> destination)
    {
        if (value.IsEmpty)
        {
            return 0;
        }

        destination[0] = tag;
        var at = 1 + WriteVarint(destination[1..], value.Length);
        value.CopyTo(destination[at..]);
        return at + value.Length;
    }

    private static int RecordBytes(BrokerMessage message)
    {
        var size = FieldBytes(message.Key.Length) + FieldBytes(message.Value.Length);
        if (message.Headers is { } headers)
        {
            for (var i = 0; i < headers.Count; i++)
            {
                var header = HeaderBytes(headers[i]);
                size += 1 + VarintBytes(header) + header;
            }
        }

        size += message.Priority > 0 ? 2 : 0;
        size += DeliverAtMilliseconds(message) is > 0 and var deliverAt ? 1 + VarintBytes(deliverAt) : 0;
        return message.TimeToLive is { } time ? size + 1 + VarintBytes(Milliseconds(time)) : size;
    }

    // 0: it has none. None is before 1970.
    private static ulong DeliverAtMilliseconds(BrokerMessage message) =>
        (ulong)(message.DeliverAt?.ToUnixTimeMilliseconds() ?? 0);

    // Within the limit that TimeSpan itself has.
    private static ulong Milliseconds(TimeSpan time) => (ulong)(time.Ticks / TimeSpan.TicksPerMillisecond);

    private static int HeaderBytes(KeyValuePair<string, ReadOnlyMemory<byte>> header) =>
        FieldBytes(Encoding.UTF8.GetByteCount(header.Key)) + FieldBytes(header.Value.Length);

    private static int FieldBytes(int length) => length == 0 ? 0 : 1 + VarintBytes(length) + length;

    private static int VarintBytes(int value) => VarintBytes((ulong)value);

    private static int VarintBytes(ulong value) => (BitOperations.Log2(value | 1) / 7) + 1;

    private static int WriteVarint(Span<byte> destination, int value) => WriteVarint(destination, (ulong)value);

    private static int WriteVarint(Span<byte> destination, ulong value)
    {
        var at = 0;
        while (value >= 0x80)
        {
            destination[at++] = (byte)(value | 0x80);
            value >>= 7;
        }

        destination[at++] = (byte)value;
        return at;
    }
}
