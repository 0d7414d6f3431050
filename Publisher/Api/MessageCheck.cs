using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Publisher.Outbox;

namespace Publisher.Api;

/// <summary>
/// Refuses what the brokers would refuse, before it is stored: a stored message that can never be published would leave
/// a hole in its producer's sequence.
/// </summary>
internal static class MessageCheck
{
    /// <summary>Makes a message for the outbox, or throws <see cref="PublishException"/> with the reason.</summary>
    public static OutboxMessage Make(string topic, Record? record, string? idempotencyKey = null)
    {
        if (!TopicName.ValidateForPublish(topic, out var reason))
        {
            throw new PublishException(PublishFailure.Invalid, reason);
        }

        record ??= new Record();
        if (record.DeliverAtUnixMs < 0 || record.Priority > PublisherLimits.MostPriority)
        {
            throw new PublishException(
                PublishFailure.Invalid,
                record.DeliverAtUnixMs < 0
                    ? $"The message has deliver_at_unix_ms {record.DeliverAtUnixMs}; a time is in milliseconds since "
                        + "1970 and not negative. Leave it out for no delay."
                    : $"The message has priority {record.Priority}; it is 0 to {PublisherLimits.MostPriority}.");
        }

        CheckSize("The message's value", record.Value.Length, PublisherLimits.RecordBytes);
        CheckSize("The message's key", record.Key.Length, PublisherLimits.KeyBytes);
        if (record.Headers.Count > PublisherLimits.HeadersPerRecord)
        {
            throw new PublishException(
                PublishFailure.TooLarge,
                $"The message has {record.Headers.Count} headers; the limit is {PublisherLimits.HeadersPerRecord}.");
        }

        foreach (var header in record.Headers)
        {
            // It stands for bytes that were not UTF-8; the brokers refuse those, and do not change a name either.
            if (header.Name.Contains('\uFFFD', StringComparison.Ordinal))
            {
                throw new PublishException(
                    PublishFailure.Invalid,
                    "A header's name has the replacement character U+FFFD, which stands for bytes that are not UTF-8.");
            }

            CheckSize(
                "A header", Encoding.UTF8.GetByteCount(header.Name) + header.Value.Length, PublisherLimits.HeaderBytes);
        }

        var bytes = new RecordBytes(
            record.Key.Memory,
            record.Value.Memory,
            EncodeHeaders(record),
            EncodeNumbers(record, record.DeliverAtUnixMs));

        if (idempotencyKey is null)
        {
            return new OutboxMessage(topic, bytes);
        }

        // When it is to be delivered makes no other message of it: who asks for "in a minute"
        // repeats that a second later.
        var named = bytes with { Numbers = EncodeNumbers(record, deliverAtUnixMs: 0) };
        return new OutboxMessage(topic, bytes, KeyOf(idempotencyKey, topic, named));
    }

    // Characters that cannot be seen would make two keys of what looks like one.
    private static IdempotencyKey KeyOf(string text, string topic, in RecordBytes record)
    {
        var fits = text.Length is > 0 and <= PublisherLimits.IdempotencyKeyBytes;
        return fits && text.AsSpan().IndexOfAnyExceptInRange('!', '~') < 0
            ? IdempotencyKey.Of(text, topic, record)
            : throw new PublishException(
                PublishFailure.Invalid,
                $"The idempotency key is empty, longer than {PublisherLimits.IdempotencyKeyBytes} characters, or has "
                + "others than visible ASCII. Use a UUID, for example.");
    }

    private static void CheckSize(string what, int actualBytes, int limitBytes)
    {
        if (actualBytes > limitBytes)
        {
            throw new PublishException(
                PublishFailure.TooLarge, $"{what} has {actualBytes:N0} bytes; the limit is {limitBytes:N0}.");
        }
    }

    // Only name and value of each: fields that this version does not know are not kept.
    private static byte[] EncodeHeaders(Record record)
    {
        if (record.Headers.Count == 0)
        {
            return [];
        }

        var headers = new Record();
        headers.Headers.Add(record.Headers.Select(header => new Header { Name = header.Name, Value = header.Value }));
        return headers.ToByteArray();
    }

    // Most messages have none.
    private static byte[] EncodeNumbers(Record record, long deliverAtUnixMs) =>
        record.TtlMs == 0 && deliverAtUnixMs == 0 && record.Priority == 0
            ? []
            : new Record
            {
                TtlMs = record.TtlMs,
                DeliverAtUnixMs = deliverAtUnixMs,
                Priority = record.Priority,
            }.ToByteArray();
}
