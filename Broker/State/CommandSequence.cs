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
/// A body out of which something was taken that nobody can read any more is <b>thinned</b>. It begins with a length of
/// 0, which no command has, and says what it was before; of a command that has given up something the highest bit of
/// the kind is set, and its module knows the payload.
/// <code>
/// thinned body: u32 0 | u32 CRC32C of the body as it was proposed | u32 bytes that it had | commands
/// </code>
/// Malformed bytes break an invariant: the log has checked their CRC, so they mean a bug or bad memory.
/// </summary>
public ref struct CommandSequence(ReadOnlySpan<byte> body)
{
    /// <summary>Length and kind.</summary>
    public const int HeaderBytes = sizeof(uint) + 1;

    /// <summary>What a thinned body begins with.</summary>
    internal const int ThinnedHeaderBytes = 3 * sizeof(uint);

    internal const int GuidBytes = 16;

    private const byte ThinnedBit = 0x80;

    private readonly ReadOnlySpan<byte> _body = body;
    private int _position = IsThinned(body) ? ThinnedHeaderBytes : 0;
    private bool _isThinned;
    private int _payloadPosition;
    private int _payloadLength;
    private CommandKind _kind;

    public CommandSequence(ReadOnlyMemory<byte> body)
        : this(body.Span)
    {
    }

    public readonly Command Current =>
        new(_kind, _payloadPosition, _body.Slice(_payloadPosition, _payloadLength), _isThinned);

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
        _kind = (CommandKind)(rest[sizeof(uint)] & ~ThinnedBit);
        _isThinned = (rest[sizeof(uint)] & ThinnedBit) != 0;
        _payloadPosition = _position + HeaderBytes;
        _payloadLength = (int)length - 1;
        _position = _payloadPosition + _payloadLength;
        return true;
    }

    /// <summary>Whether something was taken out of an entry's body since it was proposed.</summary>
    public static bool IsThinned(ReadOnlySpan<byte> body) =>
        body.Length >= ThinnedHeaderBytes && BinaryPrimitives.ReadUInt32LittleEndian(body) == 0;

    /// <summary>The checksum and the length of a body as it was proposed.</summary>
    public static (uint Crc32C, int SizeBytes) WholeOf(LogEntry entry) => IsThinned(entry.Body.Span)
        ? (BinaryPrimitives.ReadUInt32LittleEndian(entry.Body.Span[sizeof(uint)..]),
            BinaryPrimitives.ReadInt32LittleEndian(entry.Body.Span[(2 * sizeof(uint))..]))
        : (entry.BodyCrc32C, entry.Body.Length);

    /// <summary>Writes what a thinned body begins with.</summary>
    internal static void WriteThinnedHeader(Span<byte> into, LogEntry entry)
    {
        var (crc, sizeBytes) = WholeOf(entry);
        var writer = new PayloadWriter(into);
        writer.PutUInt32(0);
        writer.PutUInt32(crc);
        writer.PutInt32(sizeBytes);
    }

    /// <summary>Writes the header of a command in its thinned form.</summary>
    internal static void WriteThinnedCommand(Span<byte> into, CommandKind kind, int payloadBytes) =>
        new PayloadWriter(into).PutHeader((CommandKind)((byte)kind | ThinnedBit), payloadBytes);

    /// <summary>Begins a command of a payload that has exactly so many bytes; Advance by what was written.</summary>
    internal static PayloadWriter Begin(IBufferWriter<byte> into, CommandKind kind, int payloadBytes)
    {
        var writer = new PayloadWriter(into.GetSpan(HeaderBytes + payloadBytes));
        writer.PutHeader(kind, payloadBytes);
        return writer;
    }
}

/// <summary>One command as it stands in an entry's body.</summary>
public readonly ref struct Command(
    CommandKind kind, int payloadPosition, ReadOnlySpan<byte> payload, bool isThinned = false)
{
    public CommandKind Kind { get; } = kind;

    /// <summary>The payload is in the form of a command that has given up a part of itself.</summary>
    public bool IsThinned { get; } = isThinned;

    /// <summary>Where the payload begins within the entry's body.</summary>
    public int PayloadPosition { get; } = payloadPosition;

    public ReadOnlySpan<byte> Payload { get; } = payload;
}
