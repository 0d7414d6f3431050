using System.Text;

namespace Broker.Client;

/// <summary>
/// The brokers' limits on a message. The client checks them before it takes a message: one that is too large must not
/// fail others of its batch.
/// </summary>
public static class MessageLimits
{
    /// <summary>Of a message's value.</summary>
    public const int ValueBytes = 1024 * 1024;

    /// <summary>Of a message's key.</summary>
    public const int KeyBytes = 8 * 1024;

    /// <summary>Headers that a message may have.</summary>
    public const int HeadersPerMessage = 64;

    /// <summary>Of one header's name and value together.</summary>
    public const int HeaderBytes = 8 * 1024;

    internal const int BatchBytes = (4 * 1024 * 1024) - 1024;
    internal const int RecordsPerBatch = 65_536;

    /// <summary>What of the message breaks which limit; null: nothing.</summary>
    internal static string? Violation(BrokerMessage message)
    {
        if (message.Value.Length > ValueBytes)
        {
            return $"The value has {message.Value.Length:N0} bytes; the limit is {ValueBytes:N0}. "
                + "Keep larger things in a blob store and publish their address.";
        }

        if (message.Key.Length > KeyBytes)
        {
            return $"The key has {message.Key.Length:N0} bytes; the limit is {KeyBytes:N0}.";
        }

        if (message.Partition is < 0 or >= Publishing.TopicPublisher.MaxPartitions)
        {
            return $"The partition is {message.Partition}; partitions are 0 to "
                + $"{Publishing.TopicPublisher.MaxPartitions - 1}.";
        }

        if (message.TimeToLive is { Ticks: < TimeSpan.TicksPerMillisecond })
        {
            return $"The time to live is {message.TimeToLive}; the least is one millisecond. Leave it out for none.";
        }

        if (message.DeliverAt < DateTimeOffset.UnixEpoch)
        {
            return $"The time of delivery is {message.DeliverAt:O}; it is not before 1970. Leave it out for no delay.";
        }

        if (message.Priority is < 0 or > 9)
        {
            return $"The priority is {message.Priority}; priorities are 0 to 9.";
        }

        return message.Headers is { Count: > 0 } headers ? HeaderViolation(headers) : null;
    }

    private static string? HeaderViolation(IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> headers)
    {
        if (headers.Count > HeadersPerMessage)
        {
            return $"The message has {headers.Count:N0} headers; the limit is {HeadersPerMessage}.";
        }

        for (var i = 0; i < headers.Count; i++)
        {
            if (headers[i].Key is null)
            {
                return $"Header {i} has no name.";
            }

            var bytes = Encoding.UTF8.GetByteCount(headers[i].Key) + headers[i].Value.Length;
            if (bytes > HeaderBytes)
            {
                return $"Header {i} has {bytes:N0} bytes of name and value; the limit is {HeaderBytes:N0}.";
            }
        }

        return null;
    }
}
