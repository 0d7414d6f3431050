using Broker.Domain;

namespace Broker.Transport;

internal static partial class TransportEvents
{
    [LoggerMessage(3001, LogLevel.Information, "Connected to node {Node} ({Name})")]
    public static partial void Connected(ILogger logger, int node, string name);

    [LoggerMessage(3002, LogLevel.Information, "Disconnected from node {Node} ({Name})")]
    public static partial void Disconnected(ILogger logger, int node, string name);

    [LoggerMessage(3003, LogLevel.Debug, "The connection to node {Node} ({Name}) broke: {Reason}")]
    public static partial void Broke(ILogger logger, int node, string name, string reason);

    [LoggerMessage(3004, LogLevel.Debug, "Cannot reach {Name} at {Address}: {Reason}")]
    public static partial void DialFailed(ILogger logger, string name, Uri address, string reason);

    [LoggerMessage(3005, LogLevel.Error, "Refused node {Node} ({Name}): {Reason}")]
    public static partial void Refused(ILogger logger, uint node, string name, string reason);

    [LoggerMessage(
        3006, LogLevel.Warning, "Node {Node} ({Name}) takes nothing from its connection, which is made anew")]
    public static partial void Stalled(ILogger logger, int node, string name);

    [LoggerMessage(
        3007, LogLevel.Information, "Group {Group}: node {Node} gets the snapshot at {Position}, {Bytes} bytes")]
    public static partial void SnapshotOffered(ILogger logger, int group, int node, LogPosition position, long bytes);

    [LoggerMessage(
        3008, LogLevel.Warning, "Group {Group}: the snapshot for node {Node} stopped at attempt {Attempt}: {Reason}")]
    public static partial void SnapshotBroke(ILogger logger, int group, int node, int attempt, string reason);

    [LoggerMessage(3009, LogLevel.Information, "Group {Group}: node {Node} has installed the snapshot")]
    public static partial void SnapshotTaken(ILogger logger, int group, int node);

    [LoggerMessage(3010, LogLevel.Warning, "Group {Group}: node {Node} did not get the snapshot: {Reason}")]
    public static partial void SnapshotNotTaken(ILogger logger, int group, int node, string reason);

    [LoggerMessage(
        3011,
        LogLevel.Information,
        "Group {Group}: the snapshot at {Position} from node {Node} begins at byte {Received} of {Bytes}")]
    public static partial void SnapshotArrives(
        ILogger logger, int group, LogPosition position, int node, long received, long bytes);

    [LoggerMessage(
        3012,
        LogLevel.Warning,
        "Group {Group}: the fetch of entries from node {Node} stopped before {Next}, attempt {Attempt}: {Reason}")]
    public static partial void FetchBroke(
        ILogger logger, int group, int node, LogIndex next, int attempt, string reason);

    [LoggerMessage(
        3013, LogLevel.Information, "Group {Group}: node {Node} ({Name}) gets the entries {First} to {Last}")]
    public static partial void FetchServed(
        ILogger logger, int group, uint node, string name, LogIndex first, LogIndex last);

    [LoggerMessage(3014, LogLevel.Error, "Group {Group}: entries wanted by node {Node} cannot be read: {Reason}")]
    public static partial void FetchDamaged(ILogger logger, int group, uint node, string reason);

    [LoggerMessage(
        3015, LogLevel.Warning, "Who connected to the peers' port from {Remote} is no peer, or broke off: {Reason}")]
    public static partial void NoPeer(ILogger logger, string remote, string reason);

    [LoggerMessage(
        3016,
        LogLevel.Warning,
        "A call of the peers' protocol came from {Remote} to a port for clients and was refused. Brokers talk to each "
        + "other at a port of its own (Broker__PeerPort): run the same release on all nodes, and give them addresses "
        + "of that port (services__broker-1__peer__0, Broker__Join)")]
    public static partial void PeerAtClientsPort(ILogger logger, string remote);
}
