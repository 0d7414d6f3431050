using Grpc.Core;
using Microsoft.AspNetCore.Http.HttpResults;

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
            _ => StatusCode.Unavailable,
        },
        reason.Message));

    public static ProblemHttpResult ToHttp(SubscriberException reason) => TypedResults.Problem(
        reason.Message,
        statusCode: reason.Failure switch
        {
            SubscriberFailure.Invalid => StatusCodes.Status400BadRequest,
            SubscriberFailure.Configured => StatusCodes.Status409Conflict,
            SubscriberFailure.TooMany => StatusCodes.Status429TooManyRequests,
            _ => StatusCodes.Status503ServiceUnavailable,
        });
}
