using Google.Protobuf;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http.Features;

namespace Broker.ServiceDefaults;

/// <summary>
/// A message that cannot be read is the caller's fault, and told so: gRPC itself answers UNKNOWN, as for a fault of the
/// service. Text that is not UTF-8, in a topic's name for example, is such a message.
/// </summary>
public static class MalformedMessages
{
    private const string StatusName = "grpc-status";
    private const string MessageName = "grpc-message";

    // Plain ASCII without '%', so that it stands in grpc-message as it is.
    private const string Sentence =
        "The message is not an encoded message of this call, or has text that is not UTF-8. Nothing was done with it.";

    /// <summary>Answers INVALID_ARGUMENT where a call ended because its message could not be read.</summary>
    public static IApplicationBuilder UseMalformedMessages(this IApplicationBuilder app) =>
        app.Use(static next => async context =>
        {
            await next(context);
            if (context.Features.Get<IServerCallContextFeature>() is { } call
                && call.ServerCallContext.Status.DebugException is InvalidProtocolBufferException)
            {
                // Where nothing was sent yet, the status stands among the headers.
                var status = context.Response.HasStarted
                    ? context.Features.Get<IHttpResponseTrailersFeature>()?.Trailers
                    : context.Response.Headers;
                if (status is { IsReadOnly: false })
                {
                    status[StatusName] = ((int)StatusCode.InvalidArgument).ToString(
                        System.Globalization.CultureInfo.InvariantCulture);
                    status[MessageName] = Sentence;
                }
            }
        });
}
