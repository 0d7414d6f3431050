using System.Net;
using Grpc.Core;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// What the failures of HTTP mean in gRPC (grpc/doc/http-grpc-status-mapping.md and PROTOCOL-HTTP2.md, "Errors").
/// </summary>
internal static class StatusMap
{
    public static Status OfHttpStatus(HttpStatusCode http, Uri address)
    {
        var code = http switch
        {
            HttpStatusCode.BadRequest => StatusCode.Internal,
            HttpStatusCode.Unauthorized => StatusCode.Unauthenticated,
            HttpStatusCode.Forbidden => StatusCode.PermissionDenied,
            HttpStatusCode.NotFound => StatusCode.Unimplemented,
            HttpStatusCode.TooManyRequests => StatusCode.Unavailable,
            HttpStatusCode.BadGateway => StatusCode.Unavailable,
            HttpStatusCode.ServiceUnavailable => StatusCode.Unavailable,
            HttpStatusCode.GatewayTimeout => StatusCode.Unavailable,
            _ => StatusCode.Unknown,
        };
        return new Status(code, $"{address} answered HTTP status {(int)http}, which no gRPC server does.");
    }

    public static Status OfException(Exception exception, Uri address) => exception switch
    {
        RpcException rpc => rpc.Status,

        // The caller's own cancellation ends the call before it gets here, so that this is a timeout of the transport.
        OperationCanceledException => new Status(
            StatusCode.Unavailable, $"The connection to {address} failed: {Describe(exception)}", exception),
        HttpRequestException or IOException => OfTransport(exception, address),
        _ => new Status(StatusCode.Internal, $"The call to {address} failed: {Describe(exception)}", exception),
    };

    /// <summary>Whether the peer ended this stream alone, for which it may have sent a status.</summary>
    public static bool IsStreamReset(Exception exception) => FindReset(exception) is not null;

    private static Status OfTransport(Exception exception, Uri address)
    {
        if (FindReset(exception) is { } reset)
        {
            return new Status(
                OfHttp2Error(reset.ErrorCode), $"The call to {address} was reset: {Describe(exception)}", exception);
        }

        return new Status(
            StatusCode.Unavailable, $"The connection to {address} failed: {Describe(exception)}", exception);
    }

    /// <summary>
    /// The runtime reports a stream's reset and a connection's end (GOAWAY) by the same type and tells them apart in
    /// the message alone. A connection's end is always UNAVAILABLE, whatever its code.
    /// </summary>
    private static HttpProtocolException? FindReset(Exception? exception)
    {
        for (; exception is not null; exception = exception.InnerException)
        {
            if (exception is HttpProtocolException protocol
                && protocol.Message.Contains("reset the stream", StringComparison.Ordinal))
            {
                return protocol;
            }
        }

        return null;
    }

    private static StatusCode OfHttp2Error(long code) => code switch
    {
        0x7 => StatusCode.Unavailable, // REFUSED_STREAM
        0x8 => StatusCode.Cancelled, // CANCEL
        0xb => StatusCode.ResourceExhausted, // ENHANCE_YOUR_CALM
        0xc => StatusCode.PermissionDenied, // INADEQUATE_SECURITY
        _ => StatusCode.Internal,
    };

    /// <summary>The innermost message says most: "Connection refused", "Connection reset by peer".</summary>
    private static string Describe(Exception exception)
    {
        var innermost = exception.GetBaseException();
        return ReferenceEquals(innermost, exception)
            ? exception.Message
            : $"{exception.Message} ({innermost.Message})";
    }
}
