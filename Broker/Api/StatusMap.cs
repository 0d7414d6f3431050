using System.Globalization;
using Broker.Domain;
using Grpc.Core;

namespace Broker.Api;

/// <summary>The one place where refusals become gRPC statuses, and back for what another node answered.</summary>
internal static class StatusMap
{
    /// <summary>Trailer with the milliseconds to wait before a retry.</summary>
    public const string RetryAfterTrailer = "broker-retry-after-ms";

    public static StatusCode ToStatusCode(RefusalCode code) => code switch
    {
        RefusalCode.None => StatusCode.OK,
        RefusalCode.InvalidArgument => StatusCode.InvalidArgument,
        RefusalCode.NotFound => StatusCode.NotFound,
        RefusalCode.OutOfRange => StatusCode.OutOfRange,
        RefusalCode.ResourceExhausted or RefusalCode.TooManyProducers => StatusCode.ResourceExhausted,
        RefusalCode.NotLeader or RefusalCode.NoLeader => StatusCode.Unavailable,
        RefusalCode.OutcomeUnknown => StatusCode.Aborted,
        RefusalCode.OutOfSequence or RefusalCode.ProducerFenced or RefusalCode.FailedPrecondition =>
            StatusCode.FailedPrecondition,
        RefusalCode.DataLost => StatusCode.DataLoss,
        RefusalCode.Unimplemented => StatusCode.Unimplemented,
        _ => StatusCode.Internal,
    };

    public static RpcException ToRpcException(BrokerException refusal)
    {
        var trailers = new Metadata();
        if (refusal.RetryAfter > TimeSpan.Zero)
        {
            trailers.Add(
                RetryAfterTrailer,
                ((long)refusal.RetryAfter.TotalMilliseconds).ToString(CultureInfo.InvariantCulture));
        }

        return new RpcException(new Status(ToStatusCode(refusal.Code), refusal.Message), trailers);
    }
}
