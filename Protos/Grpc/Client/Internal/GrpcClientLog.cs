using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Grpc.Net.Client.Internal;

internal static partial class GrpcClientLog
{
    [LoggerMessage(3911, LogLevel.Debug, "The call of {Method} at {Address} ended with {Status}: {Detail}")]
    public static partial void CallFailed(
        ILogger logger, string method, Uri address, StatusCode status, string detail, Exception? exception);

    [LoggerMessage(3912, LogLevel.Warning,
        "The call credentials were not sent with {Method}: the channel to {Address} is not secure.")]
    public static partial void CredentialsWithheld(ILogger logger, string method, Uri address);
}
