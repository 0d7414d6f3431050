namespace Broker.Domain;

public enum EntryKind : byte
{
    /// <summary>
    /// What a new leader appends first, so that it can commit entries of older terms (Raft thesis 3.6.2).
    /// </summary>
    Noop = 1,

    /// <summary>One or more commands for the group's state machine, see Topics/CommandCodec.</summary>
    Commands = 2,

    /// <summary>The group's members from this entry on, see <see cref="GroupConfiguration"/>.</summary>
    Configuration = 3,
}

/// <summary>
/// One entry of a group's Raft log. It holds every command that waited when the leader appended it, so Raft's cost is
/// paid per batch, not per message. The body is shared by storage, transport and readers and is never changed.
/// </summary>
public sealed class LogEntry(
    LogIndex index, Term term, EntryKind kind, int count, long timestampUnixMs, uint bodyCrc32C,
    ReadOnlyMemory<byte> body)
{
    /// <summary>Bytes that an entry costs beside its body, on disk and on the wire.</summary>
    public const int OverheadBytes = 64;

    public LogIndex Index { get; } = index;

    public Term Term { get; } = term;

    public EntryKind Kind { get; } = kind;

    /// <summary>Number of commands in the body.</summary>
    public int Count { get; } = count;

    /// <summary>The leader's clock when it appended the entry; never goes back within a group.</summary>
    public long TimestampUnixMs { get; } = timestampUnixMs;

    /// <summary>CRC32C of the body, made once by the leader and checked wherever the bytes have travelled.</summary>
    public uint BodyCrc32C { get; } = bodyCrc32C;

    public ReadOnlyMemory<byte> Body { get; } = body;

    public int SizeBytes => OverheadBytes + Body.Length;

    public bool BodyIsIntact() => Crc32C.Compute(Body.Span) == BodyCrc32C;
}
