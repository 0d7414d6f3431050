using System.Buffers;
using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.State;

/// <summary>
/// The commands of a log entry's body, in order, for <c>foreach</c>. Allocates nothing. All numbers are little-endian;
/// each module's codec says what its payloads are.
/// <code>
/// command: u32 length of what follows | u8 kind | payload
/// </code>
/// Malformed bytes break an invariant: the log has checked their CRC, so they mean a bug or bad memory.
/// </summary>
public ref struct CommandSequence(ReadOnlySpan<byte> body)
{
    /// <summary>Length and kind.</summary>
    public const int HeaderBytes = sizeof(uint) + 1;

    internal const int GuidBytes = 16;

    private readonly ReadOnlySpan<byte> _body = body;
    private int _position;
    private int _payloadPosition;
    private int _payloadLength;
    private CommandKind _kind;

    public CommandSequence(ReadOnlyMemory<byte> body)
        : this(body.Span)
    {
    }

    public readonly Command Current => new(_kind, _payloadPosition, _body.Slice(_payloadPosition, _payloadLength));

    public readonly CommandSequence GetEnumerator() => this;

    public bool MoveNext()
    {
        if (_position == _body.Length)
        {
            return false;
        }

        var rest = _body[_position..];
        Invariant.Check(rest.Length > HeaderBytes - 1, "a command's header lies within the entry's body");
        var length = BinaryPrimitives.ReadUInt32LittleEndian(rest);
        Invariant.Check(
            length >= 1 && length <= (uint)(rest.Length - sizeof(uint)),
            "a command's length lies within the entry's body");
        _kind = (CommandKind)rest[sizeof(uint)];
        _payloadPosition = _position + HeaderBytes;
        _payloadLength = (int)length - 1;
        _position = _payloadPosition + _payloadLength;
        return true;
    }

    /// <summary>Begins a command of a payload that has exactly so many bytes; Advance by what was written.</summary>
    internal static PayloadWriter Begin(IBufferWriter<byte> into, CommandKind kind, int payloadBytes)
    {
        var writer = new PayloadWriter(into.GetSpan(HeaderBytes + payloadBytes));
        writer.PutHeader(kind, payloadBytes);
        return writer;
    }
}

/// <summary>One command as it stands in an entry's body.</summary>
public readonly ref struct Command(CommandKind kind, int payloadPosition, ReadOnlySpan<byte> payload)
{
    public CommandKind Kind { get; } = kind;

    /// <summary>Where the payload begins within the entry's body.</summary>
    public int PayloadPosition { get; } = payloadPosition;

    public ReadOnlySpan<byte> Payload { get; } = payload;
}
