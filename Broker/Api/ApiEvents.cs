namespace Broker.Api;

internal static partial class ApiEvents
{
    [LoggerMessage(6001, LogLevel.Information, "The forward stream to {Name} ended: {Reason}")]
    public static partial void ForwardBroke(ILogger logger, string name, string reason);
}
