using System.Threading.Channels;

namespace Publisher.Outbox;

/// <summary>Where requests wait for the writer: bounded in number and bytes. Who finds it full waits.</summary>
internal sealed class PublishIntake(
    PublisherMetrics metrics, PublisherOptions options, TimeProvider time, IHostApplicationLifetime lifetime)
{
    // What the writer has in hand when the publisher stops is stored in moments, or not at all.
    private static readonly TimeSpan StoreWhileStopping = TimeSpan.FromSeconds(1);

    private readonly ByteGate _gate = new(PublisherLimits.WaitingBytes);

    private readonly Channel<PublishTicket> _tickets = Channel.CreateBounded<PublishTicket>(
        new BoundedChannelOptions(PublisherLimits.WaitingRequests) { SingleReader = true });

    /// <summary>Queues messages that are stored together. Errors: <see cref="PublishFailure.Overloaded"/>.</summary>
    public async Task<PublishTicket> SubmitAsync(
        IReadOnlyList<OutboxMessage> messages, bool waitForCommit, CancellationToken cancellationToken)
    {
        if (metrics.Pending + messages.Count > options.MaxPending)
        {
            throw new PublishException(
                PublishFailure.Overloaded,
                $"{metrics.Pending:N0} messages wait for the brokers; the limit is {options.MaxPending:N0}. "
                + "Nothing was stored now; send again when the brokers are back.");
        }

        var span = OutboxSpans.StartPublish(ref messages);
        var ticket = new PublishTicket(messages, waitForCommit) { Span = span };
        span?.EndWith(ticket.Completion);
        await _gate.EnterAsync(ticket.SizeBytes, cancellationToken);
        try
        {
            await _tickets.Writer.WriteAsync(ticket, cancellationToken);
        }
        catch
        {
            _gate.Exit(ticket.SizeBytes);
            throw;
        }

        return ticket;
    }

    /// <summary>
    /// Waits for the answer. When the brokers take longer than the caller waits (or the commit timeout), and when the
    /// publisher stops, a stored message is answered as stored: it is published later, so nobody should send it again.
    /// Errors: Unavailable (nothing was stored), OutcomeUnknown, Invalid, KeyReused.
    /// </summary>
    public async Task<PublishAnswer[]> AnswerAsync(
        PublishTicket ticket, TimeSpan? patience, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            cancellationToken, lifetime.ApplicationStopping);
        try
        {
            var wait = patience < options.CommitTimeout ? patience.Value : options.CommitTimeout;
            return await ticket.Completion.WaitAsync(wait, time, ending.Token);
        }
        catch (TimeoutException e)
        {
            return await AnswerLateAsync(ticket, "Postgres did not answer in time", e, cancellationToken);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            return await AnswerLateAsync(ticket, "The publisher stops", e, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            ticket.TryGiveUp();  // Not taken yet: nobody wants it any more.
            ticket.AnswerWhenStored();
            throw;
        }
    }

    public ValueTask<bool> WaitAsync(CancellationToken cancellationToken) =>
        _tickets.Reader.WaitToReadAsync(cancellationToken);

    /// <summary>Takes what waits, up to the bounds of one insert.</summary>
    public List<PublishTicket> Take()
    {
        var tickets = new List<PublishTicket>();
        var (rows, bytes) = (0, 0L);
        while (rows < PublisherLimits.InsertRows && bytes < PublisherLimits.InsertBytes
            && _tickets.Reader.TryRead(out var ticket))
        {
            if (!ticket.TryTake())
            {
                _gate.Exit(ticket.SizeBytes);
                continue;
            }

            rows += ticket.Messages.Count;
            bytes += ticket.SizeBytes;
            tickets.Add(ticket);
        }

        return tickets;
    }

    /// <summary>The tickets are stored, or refused: their bytes no longer wait.</summary>
    public void Release(List<PublishTicket> tickets)
    {
        foreach (var ticket in tickets)
        {
            _gate.Exit(ticket.SizeBytes);
        }
    }

    private async Task<PublishAnswer[]> AnswerLateAsync(
        PublishTicket ticket, string why, Exception error, CancellationToken cancellationToken)
    {
        if (ticket.TryGiveUp())
        {
            throw new PublishException(
                PublishFailure.Unavailable, $"{why}. Nothing was stored; send again later.", error);
        }

        ticket.AnswerWhenStored();
        try
        {
            return await ticket.Completion.WaitAsync(StoreWhileStopping, time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new PublishException(
                PublishFailure.OutcomeUnknown,
                $"{why}: the message may be stored, and is published then. Sent again it may be published twice, "
                + "unless both have the same idempotency key.",
                e);
        }
    }
}
