using System.Threading.Channels;

namespace Publisher.Outbox;

/// <summary>Where requests wait for the writer: bounded in number and bytes. Who finds it full waits.</summary>
internal sealed class PublishIntake(PublisherMetrics metrics, PublisherOptions options, TimeProvider time)
{
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
                + "Nothing was stored; send again when the brokers are back.");
        }

        var ticket = new PublishTicket(messages, waitForCommit);
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

    /// <summary>Waits for the answer, no longer than the commit timeout.</summary>
    public async Task<PublishAnswer[]> AnswerAsync(PublishTicket ticket, CancellationToken cancellationToken)
    {
        try
        {
            return await ticket.Completion.WaitAsync(options.CommitTimeout, time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new PublishException(PublishFailure.Unavailable, Describe(ticket), e);
        }
        catch (OperationCanceledException)
        {
            ticket.TryGiveUp();  // Not taken yet: nobody wants it any more.
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

    private string Describe(PublishTicket ticket)
    {
        var seconds = options.CommitTimeout.TotalSeconds;
        if (ticket.TryGiveUp())
        {
            return $"Postgres did not take the message within {seconds} s. Nothing was stored; send again.";
        }

        return ticket.IsStored
            ? $"The brokers did not acknowledge within {seconds} s. The message is stored and is published when "
                + "they are back; do not send it again."
            : $"Postgres did not answer within {seconds} s: the message may be stored, and is published then.";
    }
}
