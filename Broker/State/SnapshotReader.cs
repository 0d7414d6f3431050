using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;

namespace Broker.State;

/// <summary>
/// Takes a snapshot's fields off bytes that may be anything: they come from a disk or from a peer. What <see
/// cref="SnapshotWriter"/> does not write, it refuses, so whatever is read would be written as the same bytes again.
/// </summary>
/// <remarks>Every method throws InvalidDataException for bytes that are not such a field.</remarks>
internal ref struct SnapshotReader(ReadOnlySpan<byte> snapshot)
{
    private readonly ReadOnlySpan<byte> _snapshot = snapshot;
    private int _position;

    public readonly int RestBytes => _snapshot.Length - _position;

    public byte TakeByte() => TakeBytes(1)[0];

    public ulong TakeUInt64() => BinaryPrimitives.ReadUInt64LittleEndian(TakeBytes(sizeof(ulong)));

    public Guid TakeGuid() => new(TakeBytes(CommandSequence.GuidBytes), bigEndian: true);

    public ulong TakeVarint()
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var part = TakeByte();
            Check(shift < 63 || part <= 1, "a number has at most 64 bits");
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
            {
                Check(part > 0 || shift == 0, "a number has no more bytes than it needs");
                return value;
            }
        }
    }

    /// <summary>A varint from 0 to max.</summary>
    public long TakeVarint(long max)
    {
        var value = TakeVarint();
        Check(value <= (ulong)max, "a number is within its bounds");
        return (long)value;
    }

    /// <summary>
    /// A count of things of which each has at least so many bytes, so that a lie cannot ask for memory.
    /// </summary>
    public int TakeCount(int max, int bytesEach)
    {
        var count = (int)TakeVarint(max);
        Check(count <= RestBytes / bytesEach, "what is counted is there");
        return count;
    }

    /// <summary>A text of 1 to so many bytes.</summary>
    public string TakeText(int maxBytes)
    {
        var bytes = TakeBytes((int)TakeVarint(maxBytes));
        Check(bytes.Length > 0, "a text is not empty");
        Check(Utf8.IsValid(bytes), "a text is UTF-8");
        return Encoding.UTF8.GetString(bytes);
    }

    public readonly void CheckEnd() => Check(RestBytes == 0, "the snapshot ends with its last field");

    public readonly void Check([DoesNotReturnIf(false)] bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidDataException($"The snapshot breaks the rule that {what}, before byte {_position}.");
        }
    }

    private ReadOnlySpan<byte> TakeBytes(int length)
    {
        Check(length <= RestBytes, "its fields lie within it");
        _position += length;
        return _snapshot.Slice(_position - length, length);
    }
}
