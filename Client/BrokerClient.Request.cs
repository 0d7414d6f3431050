using Broker.Client.Requesting;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    private ReplyInbox? _replies;

    private ReplyInbox Replies => LazyInitializer.EnsureInitialized(ref _replies, () => new ReplyInbox(this, _time));

    /// <summary>
    /// Publishes a request and waits for its reply, which whoever consumes the topic sends by
    /// <see cref="GroupRecord.ReplyAsync"/> or <see cref="ReplyAsync"/>. The request is a message as any other: it is
    /// stored, and one that nobody waits for any more may still be worked on. Replies come by one of 64 topics that all
    /// clients share, "broker.replies.00" to "broker.replies.63", each made by the first who needs it; they keep
    /// replies for an hour, so nothing is to be cleaned up. At most 1,024 requests wait at a time.
    /// </summary>
    /// <param name="topic">Where requests are consumed.</param>
    /// <param name="message">The request; two headers are added ("reply-to", "correlation-id").</param>
    /// <param name="timeout">How long to wait for the reply, the publish included: 1 ms to a day.</param>
    /// <param name="cancellationToken">Ends the waiting; the request may be stored and worked on all the same.</param>
    /// <returns>The first reply.</returns>
    /// <exception cref="BrokerClientException">
    /// NoReply, NoResponder: stored, and no reply in time. OutcomeUnknown: no broker said in time that it is stored.
    /// ResourceExhausted: too many wait already. Others as <see cref="PublishAsync(string, BrokerMessage,
    /// CancellationToken)"/>.
    /// </exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public async ValueTask<BrokerRecord> RequestAsync(
        string topic, BrokerMessage message, TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentNullException.ThrowIfNull(message);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        return timeout >= TimeSpan.FromMilliseconds(1) && timeout <= TimeSpan.FromDays(1)
            ? await Replies.RequestAsync(topic, message, timeout, cancellationToken)
            : throw ClientErrors.Invalid($"A request waits for its reply 1 ms to a day, not {timeout}.");
    }

    /// <summary>
    /// Replies to a request, however it was read. A second reply to the same request is ignored by who waits.
    /// </summary>
    /// <param name="request">The request.</param>
    /// <param name="reply">The reply; a header is added ("correlation-id").</param>
    /// <param name="cancellationToken">Ends the waiting; the reply may be sent all the same.</param>
    /// <returns>The reply's place, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: the record is no request. Others as PublishAsync.
    /// </exception>
    public async ValueTask<PublishAck> ReplyAsync(
        BrokerRecord request, BrokerMessage reply, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(reply);
        return ReplyInbox.Header(request, ReplyInbox.ReplyTo) is { } topic
            && ReplyInbox.Header(request, ReplyInbox.CorrelationId) is { } id
            ? await PublishAsync(topic, ReplyInbox.With(reply, (ReplyInbox.CorrelationId, id)), cancellationToken)
            : throw ClientErrors.Invalid(
                $"Offset {request.Offset} of topic '{request.Topic}' is no request: it has no header "
                + $"'{ReplyInbox.ReplyTo}' or '{ReplyInbox.CorrelationId}'.");
    }
}
