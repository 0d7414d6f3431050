namespace Broker.Client.Publishing;

/// <summary>A publish that waits for room. It joins its batch in the moment in which it is let in.</summary>
internal sealed class GateWaiter(
    string topic, int bytes, long deadlineAt, Func<(TopicProducer? Producer, PublishTicket Ticket)> enter)
{
    private readonly TaskCompletionSource<PublishTicket> _admission =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private volatile bool _cancelled;

    public string Topic { get; } = topic;

    public int Bytes { get; } = bytes;

    public long DeadlineAt { get; } = deadlineAt;

    /// <summary>Whether its caller has given up; it is then passed over.</summary>
    public bool IsCancelled => _cancelled;

    /// <summary>Who is to be pumped, outside of locks.</summary>
    public TopicProducer? Enter()
    {
        var (producer, ticket) = enter();
        _admission.SetResult(ticket);
        return producer;
    }

    public void Fail(BrokerClientException error) => _admission.SetException(error);

    public async ValueTask<PublishAck> AckAsync(CancellationToken cancellationToken)
    {
        PublishTicket ticket;
        try
        {
            ticket = await _admission.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            _cancelled = true;
            throw;
        }

        return await ticket.AckAsync(cancellationToken);
    }
}
