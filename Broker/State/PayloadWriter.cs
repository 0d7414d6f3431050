using System.Buffers.Binary;
using System.Text;

namespace Broker.State;

/// <summary>Puts fields into a span that the caller has measured.</summary>
internal ref struct PayloadWriter(Span<byte> into)
{
    public const int MaxVarintBytes = 10;

    private readonly Span<byte> _into = into;
    private int _position;

    public readonly int Written => _position;

    public void PutBytes(scoped ReadOnlySpan<byte> bytes) => bytes.CopyTo(Take(bytes.Length));

    public void PutByte(byte value) => Take(1)[0] = value;

    public void PutUInt16(ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Take(sizeof(ushort)), value);

    public void PutInt32(int value) => BinaryPrimitives.WriteInt32LittleEndian(Take(sizeof(int)), value);

    public void PutUInt32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Take(sizeof(uint)), value);

    public void PutUInt64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(sizeof(ulong)), value);

    /// <summary>At most <see cref="MaxVarintBytes"/> bytes; see PayloadReader.</summary>
    public void PutVarint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
        {
            PutByte((byte)(value | 0x80));
        }

        PutByte((byte)value);
    }

    public void PutGuid(Guid value) => value.TryWriteBytes(Take(CommandSequence.GuidBytes), bigEndian: true, out _);

    public void PutText(string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        PutUInt16(checked((ushort)length));
        Encoding.UTF8.GetBytes(text, Take(length));
    }

    public void PutHeader(CommandKind kind, int payloadBytes)
    {
        PutUInt32((uint)payloadBytes + 1);
        PutByte((byte)kind);
    }

    private Span<byte> Take(int length)
    {
        var taken = _into.Slice(_position, length);
        _position += length;
        return taken;
    }
}
