using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>The commands of an entry's body, in order, for <c>foreach</c>. Allocates nothing.</summary>
public ref struct CommandSequence(ReadOnlySpan<byte> body)
{
    private readonly ReadOnlySpan<byte> _body = body;
    private int _position;
    private int _payloadPosition;
    private int _payloadLength;
    private CommandKind _kind;

    public readonly Command Current => new(_kind, _payloadPosition, _body.Slice(_payloadPosition, _payloadLength));

    public readonly CommandSequence GetEnumerator() => this;

    public bool MoveNext()
    {
        if (_position == _body.Length)
        {
            return false;
        }

        // The log checks every body's CRC, so a malformed one means a bug or bad memory, not a bad disk.
        var rest = _body[_position..];
        Invariant.Check(rest.Length > CommandCodec.HeaderBytes - 1, "a command's header lies within the entry's body");
        var length = BinaryPrimitives.ReadUInt32LittleEndian(rest);
        Invariant.Check(
            length >= 1 && length <= (uint)(rest.Length - sizeof(uint)),
            "a command's length lies within the entry's body");
        _kind = (CommandKind)rest[sizeof(uint)];
        _payloadPosition = _position + CommandCodec.HeaderBytes;
        _payloadLength = (int)length - 1;
        _position = _payloadPosition + _payloadLength;
        return true;
    }
}
