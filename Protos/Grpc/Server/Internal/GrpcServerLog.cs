using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server.Internal;

internal static partial class GrpcServerLog
{
    [LoggerMessage(3901, LogLevel.Error, "The handler of {Method} threw an exception; the caller gets UNKNOWN.")]
    public static partial void HandlerFailed(ILogger logger, string method, Exception exception);

    [LoggerMessage(3902, LogLevel.Debug, "The call of {Method} ended with {Status}: {Detail}")]
    public static partial void CallFailed(
        ILogger logger, string method, StatusCode status, string detail, Exception? exception);

    [LoggerMessage(3903, LogLevel.Debug, "The caller of {Method} is gone or gave up.")]
    public static partial void CallAborted(ILogger logger, string method);

    [LoggerMessage(3904, LogLevel.Information, "A request to {Path} was refused: {Reason}")]
    public static partial void RequestRefused(ILogger logger, string path, string reason);
}
