using System.Buffers.Binary;
using System.Security.Cryptography;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Stands for a key in 16 bytes. A key of up to 15 bytes stands for itself; of a longer one it is a part of its SHA-256
/// that leaves 120 bits, so that no two keys of a topic are taken for one, by chance or on purpose.
/// <code>
/// short key: the key | zeros | u8 its length, 1 to 15
/// long key:  15 bytes of the SHA-256 | FF
/// </code>
/// </summary>
internal readonly record struct KeyMark(ulong Low, ulong High)
{
    public const int Bytes = 16;

    private const byte LongKey = 0xFF;

    /// <summary>No key has it.</summary>
    public bool IsNone => High == 0;

    /// <summary>Of a key that is not empty.</summary>
    public static KeyMark Of(ReadOnlySpan<byte> key)
    {
        Invariant.Check(!key.IsEmpty, "only a key has a mark");
        Span<byte> bytes = stackalloc byte[SHA256.HashSizeInBytes];
        if (key.Length < Bytes)
        {
            bytes.Clear();
            key.CopyTo(bytes);
            bytes[Bytes - 1] = (byte)key.Length;
        }
        else
        {
            SHA256.HashData(key, bytes);
            bytes[Bytes - 1] = LongKey;
        }

        return From(bytes);
    }

    /// <summary>From what <see cref="Write"/> has written.</summary>
    public static KeyMark Read(ReadOnlySpan<byte> written) => written.Length < Bytes ? Of(written) : From(written);

    /// <summary>Writes a short key as it is, and the mark of a long one; returns the bytes written.</summary>
    public int Write(Span<byte> into)
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Low);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[sizeof(ulong)..], High);
        var length = bytes[Bytes - 1] == LongKey ? Bytes : bytes[Bytes - 1];
        bytes[..length].CopyTo(into);
        return length;
    }

    /// <summary>Spread evenly, also where keys are short (the end of MurmurHash3).</summary>
    public ulong Spread()
    {
        var hash = Low ^ ulong.RotateLeft(High, 29);
        hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
        hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
        return hash ^ (hash >> 33);
    }

    private static KeyMark From(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[sizeof(ulong)..]));
}
