namespace Broker.Client.Publishing;

/// <summary>A record's place in a batch, or why it got none.</summary>
internal readonly struct PublishTicket
{
    private readonly PublishBatch? _batch;
    private readonly short _place;
    private readonly BrokerClientException? _refusal;
    private readonly Task<PublishTicket>? _later;

    public PublishTicket(PublishBatch batch, short place)
    {
        _batch = batch;
        _place = place;
    }

    public PublishTicket(BrokerClientException refusal) => _refusal = refusal;

    /// <summary>It will have a place.</summary>
    public PublishTicket(Task<PublishTicket> later) => _later = later;

    /// <summary>Completes with the batch.</summary>
    public ValueTask<PublishAck> AckAsync(CancellationToken cancellationToken)
    {
        if (_refusal is not null)
        {
            return ValueTask.FromException<PublishAck>(_refusal);
        }

        if (_later is not null)
        {
            return WaitAsync(_later, cancellationToken);
        }

        return cancellationToken.CanBeCanceled
            ? new(new ValueTask<PublishAck>(_batch!, _place).AsTask().WaitAsync(cancellationToken))
            : new(_batch!, _place);
    }

    private static async ValueTask<PublishAck> WaitAsync(
        Task<PublishTicket> later, CancellationToken cancellationToken)
    {
        var ticket = await later.WaitAsync(cancellationToken);
        return await ticket.AckAsync(cancellationToken);
    }
}
