using System.Globalization;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.Wire;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The one place where refusals become gRPC statuses, with their details (google.rpc.Status), and back for what another
/// node answered.
/// </summary>
internal static class StatusMap
{
    /// <summary>Trailer with the milliseconds to wait before a retry, for clients that do not read details.</summary>
    public const string RetryAfterTrailer = "broker-retry-after-ms";

    /// <summary>Whose reasons they are: the contract's.</summary>
    private const string Domain = "broker.v1";

    private const string LeaderKey = "leader";

    private const string LostKey = "lost";

    public static StatusCode ToStatusCode(RefusalCode code) => code switch
    {
        RefusalCode.None => StatusCode.OK,
        RefusalCode.InvalidArgument => StatusCode.InvalidArgument,
        RefusalCode.NotFound or RefusalCode.TopicDeleted or RefusalCode.AutoCreateOff or RefusalCode.GroupDeleted
            or RefusalCode.LeaseLost => StatusCode.NotFound,
        RefusalCode.AlreadyExists => StatusCode.AlreadyExists,
        RefusalCode.OutOfRange => StatusCode.OutOfRange,
        RefusalCode.ResourceExhausted or RefusalCode.Overloaded or RefusalCode.TooManyProducers
            or RefusalCode.MessageTooLarge or RefusalCode.TooManyDelayed => StatusCode.ResourceExhausted,
        RefusalCode.NotLeader or RefusalCode.NoLeader or RefusalCode.Stopping or RefusalCode.NodeUnreachable
            or RefusalCode.PartitionsChanged => StatusCode.Unavailable,
        RefusalCode.OutcomeUnknown => StatusCode.Aborted,
        RefusalCode.OutOfSequence or RefusalCode.ProducerFenced or RefusalCode.FailedPrecondition
            or RefusalCode.UnexpectedOffset or RefusalCode.QuorumLost or RefusalCode.DifferentShards
            or RefusalCode.PartlyStored or RefusalCode.GroupDiffers or RefusalCode.ReadElsewhere
            or RefusalCode.GroupExists => StatusCode.FailedPrecondition,
        RefusalCode.DataLost => StatusCode.DataLoss,
        RefusalCode.Unimplemented => StatusCode.Unimplemented,
        _ => StatusCode.Internal,
    };

    /// <summary>The contract's word for it.</summary>
    public static Reason ToReason(RefusalCode code) => code switch
    {
        RefusalCode.None => Reason.Unspecified,
        RefusalCode.InvalidArgument => Reason.InvalidRequest,
        RefusalCode.NotFound => Reason.NotFound,
        RefusalCode.TopicDeleted => Reason.TopicDeleted,
        RefusalCode.AlreadyExists => Reason.AlreadyExists,
        RefusalCode.OutOfRange => Reason.OffsetBeyondEnd,
        RefusalCode.ResourceExhausted => Reason.LimitReached,
        RefusalCode.Overloaded => Reason.Overloaded,
        RefusalCode.MessageTooLarge => Reason.MessageTooLarge,
        RefusalCode.TooManyProducers => Reason.TooManyProducers,
        RefusalCode.NotLeader => Reason.NotLeader,
        RefusalCode.NoLeader => Reason.NoLeader,
        RefusalCode.Stopping => Reason.NodeStops,
        RefusalCode.NodeUnreachable => Reason.NodeUnreachable,
        RefusalCode.OutcomeUnknown => Reason.OutcomeUnknown,
        RefusalCode.OutOfSequence => Reason.OutOfSequence,
        RefusalCode.ProducerFenced => Reason.ProducerFenced,
        RefusalCode.UnexpectedOffset => Reason.UnexpectedOffset,
        RefusalCode.FailedPrecondition or RefusalCode.ReadElsewhere => Reason.NotPossibleNow,
        RefusalCode.QuorumLost => Reason.QuorumLost,
        RefusalCode.DataLost => Reason.DataLost,
        RefusalCode.Unimplemented => Reason.NotInThisVersion,
        RefusalCode.PartitionsChanged => Reason.PartitionsChanged,
        RefusalCode.AutoCreateOff => Reason.AutoCreateOff,
        RefusalCode.DifferentShards => Reason.DifferentShards,
        RefusalCode.PartlyStored => Reason.PartlyStored,
        RefusalCode.GroupDeleted => Reason.GroupDeleted,
        RefusalCode.GroupDiffers => Reason.GroupDiffers,
        RefusalCode.LeaseLost => Reason.LeaseLost,
        RefusalCode.GroupExists => Reason.GroupExists,
        RefusalCode.TooManyDelayed => Reason.TooManyDelayed,
        _ => Reason.Internal,
    };

    public static RpcException ToRpcException(BrokerException refusal) => ToRpcException(
        ToStatusCode(refusal.Code),
        refusal.Message,
        ToReason(refusal.Code),
        refusal.RetryAfter,
        leader: "",
        refusal.Lost);

    public static RpcException ToRpcException(PublishResult refusal) => ToRpcException(
        (StatusCode)refusal.Status,
        refusal.Message,
        refusal.Reason,
        TimeSpan.FromMilliseconds(refusal.RetryAfterMs),
        refusal.Leader?.Address ?? "");

    /// <summary>What stands in the details of an error.</summary>
    public static Google.Rpc.Status Details(
        StatusCode code,
        string message,
        Reason reason,
        TimeSpan retryAfter = default,
        string leader = "",
        string lost = "")
    {
        var info = new ErrorInfo { Domain = Domain, Reason = ReasonNames.Of(reason) };
        if (leader.Length > 0)
        {
            info.Metadata.Add(LeaderKey, leader);
        }

        if (lost.Length > 0)
        {
            info.Metadata.Add(LostKey, lost);
        }

        var status = new Google.Rpc.Status { Code = (int)code, Message = message, Details = { Any.Pack(info) } };
        if (retryAfter > TimeSpan.Zero)
        {
            status.Details.Add(Any.Pack(new RetryInfo { RetryDelay = Duration.FromTimeSpan(retryAfter) }));
        }

        return status;
    }

    private static RpcException ToRpcException(
        StatusCode code, string message, Reason reason, TimeSpan retryAfter, string leader, string lost = "")
    {
        var details = Details(code, message, reason, retryAfter, leader, lost);
        var trailers = new Metadata { { MetadataExtensions.StatusDetailsTrailerName, details.ToByteArray() } };
        if (retryAfter > TimeSpan.Zero)
        {
            trailers.Add(
                RetryAfterTrailer, ((long)retryAfter.TotalMilliseconds).ToString(CultureInfo.InvariantCulture));
        }

        return new RpcException(new Grpc.Core.Status(code, message), trailers);
    }
}
