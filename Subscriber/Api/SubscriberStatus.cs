using Grpc.Core;

namespace Subscriber.Api;

/// <summary>The one place where refusals become gRPC and HTTP statuses.</summary>
internal static class SubscriberStatus
{
    public static RpcException ToRpc(SubscriberException reason) => new(new Status(
        reason.Failure switch
        {
            SubscriberFailure.Invalid => StatusCode.InvalidArgument,
            SubscriberFailure.Configured => StatusCode.FailedPrecondition,
            SubscriberFailure.TooMany => StatusCode.ResourceExhausted,
            SubscriberFailure.OutOfRange => StatusCode.OutOfRange,
            _ => StatusCode.Unavailable,
        },
        reason.Message));

    public static IResult ToHttp(SubscriberException reason, HttpResponse response)
    {
        if (reason.Failure == SubscriberFailure.Unavailable)
        {
            response.Headers.RetryAfter = "1";
        }

        return TypedResults.Problem(
            reason.Message,
            statusCode: reason.Failure switch
            {
                SubscriberFailure.Invalid => StatusCodes.Status400BadRequest,
                SubscriberFailure.Configured => StatusCodes.Status409Conflict,
                SubscriberFailure.TooMany => StatusCodes.Status429TooManyRequests,
                SubscriberFailure.OutOfRange => StatusCodes.Status416RangeNotSatisfiable,
                _ => StatusCodes.Status503ServiceUnavailable,
            });
    }
}
