namespace Broker.Transport;

internal static partial class TransportLog
{
    [LoggerMessage(3001, LogLevel.Information, "Connected to node {Node} ({Name})")]
    public static partial void Connected(ILogger logger, int node, string name);

    [LoggerMessage(3002, LogLevel.Information, "Disconnected from node {Node} ({Name})")]
    public static partial void Disconnected(ILogger logger, int node, string name);

    [LoggerMessage(3003, LogLevel.Debug, "The stream to node {Node} ({Name}) broke: {Reason}")]
    public static partial void Broke(ILogger logger, int node, string name, string reason);

    [LoggerMessage(3004, LogLevel.Debug, "Cannot reach {Name} at {Address}: {Reason}")]
    public static partial void DialFailed(ILogger logger, string name, Uri address, string reason);

    [LoggerMessage(3005, LogLevel.Error, "Refused node {Node} ({Name}): {Reason}")]
    public static partial void Refused(ILogger logger, uint node, string name, string reason);
}
