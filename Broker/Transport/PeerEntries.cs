using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;

namespace Broker.Transport;

/// <summary>Between log entries and their form on the wire. Bodies are shared, never copied.</summary>
public static class PeerEntries
{
    public static PeerEntry ToWire(LogEntry entry) => new()
    {
        Term = entry.Term.Value,
        Index = entry.Index.Value,
        Kind = (uint)entry.Kind,
        Count = (uint)entry.Count,
        TimestampUnixMs = entry.TimestampUnixMs,
        BodyCrc32C = entry.BodyCrc32C,
        Body = UnsafeByteOperations.UnsafeWrap(entry.Body),
    };

    /// <summary>The body is not checked; see <see cref="LogEntry.BodyIsIntact"/>.</summary>
    public static LogEntry FromWire(PeerEntry wire) => new(
        new LogIndex(wire.Index),
        new Term(wire.Term),
        (EntryKind)wire.Kind,
        (int)wire.Count,
        wire.TimestampUnixMs,
        wire.BodyCrc32C,
        wire.Body.Memory);
}
