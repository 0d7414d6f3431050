using System.Buffers.Binary;
using System.Text;
using Broker.Domain;

namespace Broker.State;

/// <summary>Takes fields off a command's payload; a field that is not there is a broken invariant.</summary>
internal ref struct PayloadReader(ReadOnlySpan<byte> payload)
{
    private const string WithinPayload = "a command's field lies within its payload";

    private ReadOnlySpan<byte> _rest = payload;

    public readonly ReadOnlySpan<byte> Rest => _rest;

    public ReadOnlySpan<byte> TakeBytes(int length)
    {
        Invariant.Check(length <= _rest.Length, WithinPayload);
        var bytes = _rest[..length];
        _rest = _rest[length..];
        return bytes;
    }

    public byte TakeByte() => TakeBytes(1)[0];

    public ushort TakeUInt16() => BinaryPrimitives.ReadUInt16LittleEndian(TakeBytes(sizeof(ushort)));

    public int TakeInt32() => BinaryPrimitives.ReadInt32LittleEndian(TakeBytes(sizeof(int)));

    public uint TakeUInt32() => BinaryPrimitives.ReadUInt32LittleEndian(TakeBytes(sizeof(uint)));

    public ulong TakeUInt64() => BinaryPrimitives.ReadUInt64LittleEndian(TakeBytes(sizeof(ulong)));

    /// <summary>Seven bits a byte, the lowest first; the highest bit says that more follow.</summary>
    public ulong TakeVarint()
    {
        ulong value = 0;
        var shift = 0;
        byte part;
        do
        {
            part = TakeByte();
            Invariant.Check(shift < 64, "a number has at most 64 bits");
            value |= (ulong)(part & 0x7F) << shift;
            shift += 7;
        }
        while (part >= 0x80);

        return value;
    }

    /// <summary>A varint that is a 32-bit number and not negative.</summary>
    public int TakeVarint32()
    {
        var value = TakeVarint();
        Invariant.Check(value <= int.MaxValue, "a number is within its bounds");
        return (int)value;
    }

    public Guid TakeGuid() => new(TakeBytes(CommandSequence.GuidBytes), bigEndian: true);

    /// <summary>A text is its length in bytes (u16) and its UTF-8.</summary>
    public string TakeText() => Encoding.UTF8.GetString(TakeBytes(TakeUInt16()));

    public readonly void CheckEnd() => Invariant.Check(_rest.IsEmpty, "a command's payload ends with its last field");
}
