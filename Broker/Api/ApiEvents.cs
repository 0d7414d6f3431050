namespace Broker.Api;

internal static partial class ApiEvents
{
    [LoggerMessage(6001, LogLevel.Information, "The forward stream to {Name} ended: {Reason}")]
    public static partial void ForwardBroke(ILogger logger, string name, string reason);

    [LoggerMessage(7080, LogLevel.Information, "Data node {Name} is not reached, another one is asked: {Reason}")]
    public static partial void DataNodeNotReached(ILogger logger, string name, string reason);

    [LoggerMessage(7081, LogLevel.Information, "Data node {Name} broke off a call ({Method}): {Reason}")]
    public static partial void DataNodeBroke(ILogger logger, string name, string method, string reason);

    [LoggerMessage(6080, LogLevel.Error, "{Method} {Path} by HTTP failed")]
    public static partial void HttpFailed(ILogger logger, string method, string path, Exception failure);

    [LoggerMessage(6081, LogLevel.Information, "The answer to {Method} {Path} by HTTP broke off: {Reason}")]
    public static partial void HttpBroke(ILogger logger, string method, string path, string reason);
}
