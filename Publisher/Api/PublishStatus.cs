using Grpc.Core;

namespace Publisher.Api;

/// <summary>The one place where refusals become gRPC and HTTP statuses.</summary>
internal static class PublishStatus
{
    private const string RetryAfterSeconds = "1";

    public static RpcException ToRpc(PublishException reason) =>
        new(new Status(ToGrpc(reason.Failure), reason.Message));

    /// <summary>Too much of what callers send has not come to its end.</summary>
    public static RpcException Receiving() => ToRpc(new PublishException(
        PublishFailure.Overloaded,
        $"More than {PublisherLimits.ReceivingBytes / 1024 / 1024} MiB of messages are on their way here. Nothing of "
        + "this one was stored; send again in a second."));

    public static StatusCode ToGrpc(PublishFailure failure) => failure switch
    {
        PublishFailure.Invalid or PublishFailure.TooLarge => StatusCode.InvalidArgument,
        PublishFailure.Overloaded => StatusCode.ResourceExhausted,
        PublishFailure.OutcomeUnknown => StatusCode.Aborted,
        PublishFailure.KeyReused => StatusCode.AlreadyExists,
        PublishFailure.NotFound => StatusCode.NotFound,
        _ => StatusCode.Unavailable,
    };

    /// <summary>
    /// With Retry-After where sending again is safe: nothing was stored, or the idempotency key makes it a repetition.
    /// </summary>
    public static IResult ToHttp(PublishException reason, HttpResponse response, bool hasKey = false)
    {
        if (reason.Failure is PublishFailure.Overloaded or PublishFailure.Unavailable
            || (reason.Failure == PublishFailure.OutcomeUnknown && hasKey))
        {
            response.Headers.RetryAfter = RetryAfterSeconds;
        }

        return TypedResults.Problem(
            reason.Message,
            statusCode: reason.Failure switch
            {
                PublishFailure.Invalid => StatusCodes.Status400BadRequest,
                PublishFailure.TooLarge => StatusCodes.Status413PayloadTooLarge,
                PublishFailure.Overloaded => StatusCodes.Status429TooManyRequests,
                PublishFailure.OutcomeUnknown => StatusCodes.Status504GatewayTimeout,
                PublishFailure.KeyReused => StatusCodes.Status422UnprocessableEntity,
                PublishFailure.NotFound => StatusCodes.Status404NotFound,
                _ => StatusCodes.Status503ServiceUnavailable,
            });
    }
}
