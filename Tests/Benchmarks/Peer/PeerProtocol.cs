using System.Buffers.Binary;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// How a client speaks with a node of the DotNext cluster, over loopback. A connection begins with one byte from the
/// client, what it wants, and one byte from the node: 1 when it leads, else 0 and the connection ends.
/// <code>
/// Write   client: length (int32, little endian) and that many bytes, for each entry, without waiting
///         node:   one byte for each entry in the same order, 1 when it is committed and applied, else 0
/// Read    node:   length and bytes of each committed entry from the first on; a length of 0 at the end
/// </code>
/// </summary>
internal static class PeerProtocol
{
    public const byte Write = (byte)'w';
    public const byte Read = (byte)'r';
    public const byte No = 0;
    public const byte Yes = 1;
    public const int HeaderSizeBytes = sizeof(int);

    public static int ReadLength(ReadOnlySpan<byte> header)
    {
        var length = BinaryPrimitives.ReadInt32LittleEndian(header);
        return length is >= 0 and <= PeerLimits.EntryBytes
            ? length
            : throw new InvalidDataException(
                $"An entry of {length} bytes; expected 0 to {PeerLimits.EntryBytes}. Client and node disagree.");
    }
}

internal static class PeerLimits
{
    /// <summary>128 records of 128 B are 16 KiB.</summary>
    public const int EntryBytes = 1 << 20;

    /// <summary>Entries of one connection that wait for their answer: more than any load here has under way.</summary>
    public const int Unanswered = 16_384;

    /// <summary>Entries that a node reads from its log under one lock while it gives the log back.</summary>
    public const int EntriesARead = 1_024;

    /// <summary>Connections that wait to be accepted: a client has one at a time.</summary>
    public const int Backlog = 16;

    /// <summary>Bytes that the client gathers for one call of the socket.</summary>
    public const int SendBytes = 256 * 1024;

    /// <summary>Of one node: one that hangs must not hide the leader from the client.</summary>
    public static readonly TimeSpan Connect = TimeSpan.FromMilliseconds(250);

    /// <summary>Between two rounds of asking all nodes: no leader is found later than this after it leads.</summary>
    public static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(1);

    /// <summary>Without a leader, or without an answer: as patient as our own client.</summary>
    public static readonly TimeSpan Answer = TimeSpan.FromSeconds(30);

    /// <summary>Starting three nodes, whose log may be long; reading all of a log back.</summary>
    public static readonly TimeSpan Start = TimeSpan.FromMinutes(2);
}
