using Broker.Client.Publishing;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Client;

/// <summary>
/// The one place where the client's failures are worded: what, after how many tries, what was answered, what to do.
/// </summary>
internal static class ClientErrors
{
    public static BrokerClientException PublishTimedOut(string topic, PublishBatch batch, TimeSpan timeout) =>
        batch.Uncertain
            ? new(
                $"{What(topic, batch)} got no final answer in {Seconds(timeout)} and {Tries(batch)}: "
                + $"it may be stored or not. {Last(batch)}. {SendAgain}",
                BrokerClientErrorCode.OutcomeUnknown)
            : new(
                $"{What(topic, batch)} was not stored in {Seconds(timeout)} and {Tries(batch)}. {Last(batch)}."
                + (batch.IsOverloaded
                    ? "" // The broker says what to do.
                    : " Check that a majority of the brokers is up and that Addresses names them, then publish again."),
                BrokerClientErrorCode.Unavailable);

    public static BrokerClientException PublishRefused(
        string topic, PublishBatch batch, StatusCode status, string reason, bool ownStamp)
    {
        var refused = $"{What(topic, batch)} was refused after {Tries(batch)}. {Last(batch)}.";
        return status == StatusCode.FailedPrecondition && ownStamp
            ? new($"{refused} {SendAgain}", BrokerClientErrorCode.OutcomeUnknown, reason: reason)
            : new(refused, CodeOf(status, reason), reason: reason);
    }

    public static BrokerClientException EarlierBatchFailed(string topic, PublishBatch batch)
    {
        var stored = batch.Uncertain ? "may be stored or not" : "was not stored";
        return new(
            $"{What(topic, batch)} stood behind a batch of the same producer that failed, and {stored}. {Last(batch)}. "
            + "With stamps of your own, send both again in their order; otherwise publish again.",
            batch.Uncertain ? BrokerClientErrorCode.OutcomeUnknown : BrokerClientErrorCode.FailedPrecondition);
    }

    public static BrokerClientException NoRoom(string topic, TimeSpan timeout, long limitBytes) => new(
        $"A message for topic '{topic}' found no room for {Seconds(timeout)}: {limitBytes:N0} bytes (MaxBufferedBytes) "
        + "wait for answers. It was not stored. Publish more slowly, or find out why the brokers are slow.",
        BrokerClientErrorCode.Unavailable);

    public static BrokerClientException TooManyWaiting(string topic, int limit) => new(
        $"A message for topic '{topic}' was not taken: {limit:N0} calls (MaxWaitingPublishes) wait for room already. "
        + "It was not stored. Await earlier publishes before you begin new ones.",
        BrokerClientErrorCode.ResourceExhausted,
        retryAfter: RoomMayHaveCome);

    public static BrokerClientException TooManyTopics(string topic, int limit) => new(
        $"Topic '{topic}' was not taken: this client publishes to {limit:N0} topics already. Use another client.",
        BrokerClientErrorCode.ResourceExhausted);

    public static BrokerClientException Invalid(string what) => new(what, BrokerClientErrorCode.InvalidArgument);

    public static BrokerClientException Disposed(string topic, bool maybeStored, TimeSpan drain) => maybeStored
        ? new(
            $"The client was disposed while messages for topic '{topic}' waited for their answers, which did not come "
            + $"in {Seconds(drain)} (DrainTimeout): they may be stored or not. {SendAgain}",
            BrokerClientErrorCode.OutcomeUnknown)
        : new(
            $"The client was disposed while messages for topic '{topic}' waited to be sent, for {Seconds(drain)} "
            + "(DrainTimeout) in vain: they were not stored. Publish them with another client.",
            BrokerClientErrorCode.Unavailable);

    public static BrokerClientException CallFailed(
        string what, int tries, Uri address, RpcException last, bool gaveUp)
    {
        var count = tries == 1 ? "1 try" : $"{tries} tries";
        var reason = ReasonOf(last);
        var hint = gaveUp ? " Check that the brokers are up and that Addresses names them." : string.Empty;
        return new(
            $"{what} failed after {count}. {address} answered {last.StatusCode}: {last.Status.Detail.TrimEnd('.')}."
            + hint,
            CodeOf(last.StatusCode, reason),
            last,
            reason,
            RetryAfterOf(last));
    }

    /// <summary>A consumer that was served once has a group; if there is none any more, that was deleted.</summary>
    public static BrokerClientException ConsumeFailed(
        string what, int tries, Uri address, RpcException last, bool gaveUp, bool isFirst)
    {
        var failure = CallFailed(what, tries, address, last, gaveUp);
        return failure.Code == BrokerClientErrorCode.NotFound && !isFirst
            ? new(failure.Message, BrokerClientErrorCode.GroupDeleted, last, failure.Reason, failure.RetryAfter)
            : failure;
    }

    public static BrokerClientException NotSettled(Protocol.Wire.Settled answer)
    {
        var reason = ReasonNames.Of(answer.Reason);
        return new(
            $"A record was not settled: {(StatusCode)answer.Status}: {answer.Message}",
            CodeOf((StatusCode)answer.Status, reason),
            reason: reason);
    }

    public static BrokerClientException Unclear(string what, RpcException last) => new(
        $"{what} got no final answer in time: all of it may be stored, or nothing. Last answer: {last.StatusCode}: "
        + $"{last.Status.Detail.TrimEnd('.')}. Read the topics to find out.",
        BrokerClientErrorCode.OutcomeUnknown,
        last,
        ReasonOf(last));

    public static BrokerClientException ConditionUnclear(string topic, long expectedOffset, RpcException last) => new(
        $"A message for offset {expectedOffset} of topic '{topic}' was sent, the first try got no answer, and now that "
        + "offset is taken: by this message or by another one. Read the topic there to find out.",
        BrokerClientErrorCode.OutcomeUnknown,
        last,
        ReasonOf(last));

    public static BrokerClientException NoReply(string topic, TimeSpan timeout, bool hasResponder) => new(
        $"The request to topic '{topic}' is stored, and nobody replied in {Seconds(timeout)}: "
        + (hasResponder
            ? "whoever consumes the topic is slow, or has failed. Wait longer, or look at the group's lag."
            : "no consumer group with an open consumer follows the topic. Start whoever is to reply."),
        hasResponder ? BrokerClientErrorCode.NoReply : BrokerClientErrorCode.NoResponder);

    public static BrokerClientException RequestNotStored(string topic, TimeSpan timeout) => new(
        $"A request to topic '{topic}' had no answer from the brokers in {Seconds(timeout)}: it may be stored or not. "
        + "Check that a majority of the brokers is up, or wait longer.",
        BrokerClientErrorCode.OutcomeUnknown);

    public static BrokerClientException TooManyRequests(string topic, int limit) => new(
        $"A request to topic '{topic}' was not taken: {limit:N0} requests of this client wait for replies already. "
        + "It was not stored. Await earlier ones before you begin new ones.",
        BrokerClientErrorCode.ResourceExhausted,
        retryAfter: RoomMayHaveCome);

    /// <summary>The reason in the details of an error; empty: it has none.</summary>
    public static string ReasonOf(RpcException error) => DetailOf<Google.Rpc.ErrorInfo>(error)?.Reason ?? "";

    private static TimeSpan? RetryAfterOf(RpcException error) =>
        DetailOf<Google.Rpc.RetryInfo>(error)?.RetryDelay?.ToTimeSpan();

    private static T? DetailOf<T>(RpcException error)
        where T : class, IMessage<T>, new()
    {
        try
        {
            return error.GetRpcStatus()?.GetDetail<T>();
        }
        catch (Exception malformed) when (malformed is InvalidProtocolBufferException or ArgumentException)
        {
            // Whoever answered is no broker of ours; the status says what there is to say.
            return null;
        }
    }

    public static BrokerClientErrorCode CodeOf(StatusCode status, string reason = "") => status switch
    {
        StatusCode.NotFound when reason == TopicDeleted => BrokerClientErrorCode.TopicDeleted,
        StatusCode.NotFound when reason == GroupDeleted => BrokerClientErrorCode.GroupDeleted,
        StatusCode.NotFound when reason == LeaseLost => BrokerClientErrorCode.LeaseLost,
        StatusCode.AlreadyExists => BrokerClientErrorCode.AlreadyExists,
        StatusCode.FailedPrecondition when reason == UnexpectedOffset => BrokerClientErrorCode.UnexpectedOffset,
        StatusCode.FailedPrecondition when reason == QuorumLost => BrokerClientErrorCode.QuorumLost,
        StatusCode.InvalidArgument => BrokerClientErrorCode.InvalidArgument,
        StatusCode.NotFound => BrokerClientErrorCode.NotFound,
        StatusCode.OutOfRange => BrokerClientErrorCode.OutOfRange,
        StatusCode.ResourceExhausted => BrokerClientErrorCode.ResourceExhausted,
        StatusCode.FailedPrecondition => BrokerClientErrorCode.FailedPrecondition,
        StatusCode.PermissionDenied or StatusCode.Unauthenticated => BrokerClientErrorCode.PermissionDenied,
        StatusCode.Aborted => BrokerClientErrorCode.OutcomeUnknown,
        StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled =>
            BrokerClientErrorCode.Unavailable,
        _ => BrokerClientErrorCode.Unknown,
    };

    /// <summary>Names from the contract's list, broker.v1.Reason.</summary>
    public const string TopicDeleted = "TOPIC_DELETED";

    public const string GroupDeleted = "GROUP_DELETED";

    public const string LeaseLost = "LEASE_LOST";

    public const string UnexpectedOffset = "UNEXPECTED_OFFSET";

    public const string QuorumLost = "QUORUM_LOST";

    public const string LimitReached = "LIMIT_REACHED";

    /// <summary>For what has found a queue of the client full: about an answer's time.</summary>
    private static readonly TimeSpan RoomMayHaveCome = TimeSpan.FromMilliseconds(100);

    private const string SendAgain =
        "To be sure that it is stored once whatever happens, "
        + "publish with a producer stamp of your own and send again with the same.";

    private static string What(string topic, PublishBatch batch) =>
        $"A batch of {batch.Count:N0} message{(batch.Count == 1 ? string.Empty : "s")} for topic '{topic}'";

    private static string Tries(PublishBatch batch) => batch.Tries == 1 ? "1 try" : $"{batch.Tries} tries";

    private static string Last(PublishBatch batch) => $"Last answer: {batch.LastError.TrimEnd('.')}";

    private static string Seconds(TimeSpan span) => $"{span.TotalSeconds:0.###} s";
}
