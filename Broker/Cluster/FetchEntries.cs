using Broker.Domain;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Committed entries from a peer, as <see cref="Transport.PeerTransport.FetchEntriesAsync"/> gives them.
/// </summary>
/// <exception cref="RpcException">The peer has not got them; ask another one.</exception>
internal delegate IAsyncEnumerable<LogEntry> FetchEntries(
    NodeId peer,
    GroupId group,
    LogIndex first,
    LogIndex last,
    Term lastTerm,
    bool orLater,
    CancellationToken cancellationToken);
