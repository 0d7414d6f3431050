using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Broker.State;

/// <summary>
/// Puts a snapshot's fields into a buffer writer, some kilobytes at a time. Numbers of a fixed size are little-endian;
/// a varint has seven bits a byte, the lowest first, and the top bit says that another byte follows (LEB128); a text is
/// a varint with its length in bytes and its UTF-8. Each value has exactly one encoding. Finish ends it.
/// </summary>
internal ref struct SnapshotWriter(IBufferWriter<byte> into)
{
    private const int PieceBytes = 4096;
    private const int MaxVarintBytes = 10;

    private readonly IBufferWriter<byte> _into = into;
    private Span<byte> _piece;
    private int _used;

    public void PutByte(byte value) => Take(1)[0] = value;

    public void PutUInt64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(sizeof(ulong)), value);

    public void PutGuid(Guid value) => value.TryWriteBytes(Take(CommandSequence.GuidBytes), bigEndian: true, out _);

    public void PutVarint(long value) => PutVarint(checked((ulong)value));

    public void PutVarint(ulong value)
    {
        MakeRoom(MaxVarintBytes);
        while (value >= 0x80)
        {
            _piece[_used++] = (byte)(value | 0x80);
            value >>= 7;
        }

        _piece[_used++] = (byte)value;
    }

    public void PutText(string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        PutVarint(length);
        Encoding.UTF8.GetBytes(text, Take(length));
    }

    public void Finish()
    {
        _into.Advance(_used);
        _piece = default;
        _used = 0;
    }

    private Span<byte> Take(int length)
    {
        MakeRoom(length);
        _used += length;
        return _piece.Slice(_used - length, length);
    }

    private void MakeRoom(int length)
    {
        if (_piece.Length - _used < length)
        {
            Finish();
            _piece = _into.GetSpan(Math.Max(PieceBytes, length));
        }
    }
}
