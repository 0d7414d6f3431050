namespace Broker.Client.Publishing;

/// <summary>A publish that waits for room. It joins its batch in the moment in which it is let in.</summary>
internal sealed class GateWaiter(
    string topic, int bytes, long deadlineAt, Func<(TopicProducer Producer, ValueTask<PublishAck> Ack)> enter)
{
    private readonly TaskCompletionSource<ValueTask<PublishAck>> _admission =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private volatile bool _cancelled;

    public string Topic { get; } = topic;

    public int Bytes { get; } = bytes;

    public long DeadlineAt { get; } = deadlineAt;

    /// <summary>Whether its caller has given up; it is then passed over.</summary>
    public bool IsCancelled => _cancelled;

    public TopicProducer Enter()
    {
        var (producer, ack) = enter();
        _admission.SetResult(ack);
        return producer;
    }

    public void Fail(BrokerClientException error) => _admission.SetException(error);

    public async ValueTask<PublishAck> AckAsync(CancellationToken cancellationToken)
    {
        ValueTask<PublishAck> ack;
        try
        {
            ack = await _admission.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            _cancelled = true;
            throw;
        }

        return cancellationToken.CanBeCanceled ? await ack.AsTask().WaitAsync(cancellationToken) : await ack;
    }
}
