using Broker.Domain;

namespace Broker.Cluster;

/// <summary>
/// A sealed segment that must be written anew: its first index and its last position say which entries it had (log
/// matching, Raft thesis 3.5). Its size bounds what a peer may send for it. Of a hollow one the beginning may be left
/// out, when others have dropped it meanwhile: nobody wants that any more, and it goes when this log drops it in turn.
/// </summary>
internal readonly record struct DamagedSegment(
    LogIndex First, LogPosition Last, long SizeBytes, bool IsHollow = false);
