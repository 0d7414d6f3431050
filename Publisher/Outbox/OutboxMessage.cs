using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Publisher.Outbox;

/// <summary>A validated message on its way into the outbox. With a key of its caller's it is stored once.</summary>
internal sealed record OutboxMessage(string Topic, RecordBytes Record, IdempotencyKey? Once = null);

/// <summary>
/// What a caller names a message by, so that sending it again is a repetition. The fingerprint tells another message
/// under the same key from the same one.
/// </summary>
internal sealed record IdempotencyKey(string Text, byte[] Fingerprint)
{
    public static IdempotencyKey Of(string text, string topic, in RecordBytes record)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(hash, Encoding.UTF8.GetBytes(topic));
        Add(hash, record.Key.Span);
        Add(hash, record.Value.Span);
        Add(hash, record.Headers.Span);
        if (!record.Numbers.IsEmpty)
        {
            Add(hash, record.Numbers.Span); // Rows of versions that had none stay repeatable.
        }

        return new IdempotencyKey(text, hash.GetHashAndReset());
    }

    // With its length before it no part can be taken for the beginning of the next one.
    private static void Add(IncrementalHash hash, ReadOnlySpan<byte> part)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, part.Length);
        hash.AppendData(length);
        hash.AppendData(part);
    }
}
