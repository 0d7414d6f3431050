using Grpc.Core;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Publisher.Api;

/// <summary>The one place where refusals become gRPC and HTTP statuses.</summary>
internal static class PublishStatus
{
    public static RpcException ToRpc(PublishException reason) =>
        new(new Status(ToGrpc(reason.Failure), reason.Message));

    public static StatusCode ToGrpc(PublishFailure failure) => failure switch
    {
        PublishFailure.Invalid or PublishFailure.TooLarge => StatusCode.InvalidArgument,
        PublishFailure.Unimplemented => StatusCode.Unimplemented,
        PublishFailure.Overloaded => StatusCode.ResourceExhausted,
        _ => StatusCode.Unavailable,
    };

    public static ProblemHttpResult ToHttp(PublishException reason) => TypedResults.Problem(
        reason.Message,
        statusCode: reason.Failure switch
        {
            PublishFailure.Invalid => StatusCodes.Status400BadRequest,
            PublishFailure.TooLarge => StatusCodes.Status413PayloadTooLarge,
            PublishFailure.Unimplemented => StatusCodes.Status501NotImplemented,
            PublishFailure.Overloaded => StatusCodes.Status429TooManyRequests,
            _ => StatusCodes.Status503ServiceUnavailable,
        });
}
