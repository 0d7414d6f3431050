namespace Publisher.Outbox;

/// <summary>The answer for one message. Offset -1: not known.</summary>
internal readonly record struct PublishAnswer(long OutboxId, bool Committed, long Offset);

/// <summary>
/// One request's messages and the task that its caller awaits. The writer stores them, the lanes of their topics commit
/// them; lanes run side by side, so what they share is counted with Interlocked.
/// </summary>
internal sealed class PublishTicket
{
    private const int Waiting = 0;
    private const int Taken = 1;
    private const int GivenUp = 2;

    private readonly TaskCompletionSource<PublishAnswer[]> _completion =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly PublishAnswer[] _answers;
    private int _uncommitted;
    private int _state;
    private bool _stored;

    public PublishTicket(IReadOnlyList<OutboxMessage> messages, bool waitForCommit)
    {
        Messages = messages;
        WaitForCommit = waitForCommit;
        _answers = new PublishAnswer[messages.Count];
        _uncommitted = messages.Count;
        foreach (var message in messages)
        {
            SizeBytes += message.Record.FieldBytes;
        }
    }

    public IReadOnlyList<OutboxMessage> Messages { get; private set; }

    public bool WaitForCommit { get; }

    public int SizeBytes { get; }

    public Task<PublishAnswer[]> Completion => _completion.Task;

    /// <summary>Whether the messages are in Postgres.</summary>
    public bool IsStored => Volatile.Read(ref _stored);

    /// <summary>The writer takes the ticket, unless its caller has given up waiting.</summary>
    public bool TryTake() => Interlocked.CompareExchange(ref _state, Taken, Waiting) == Waiting;

    /// <summary>
    /// The caller gives up. True: the writer has not taken the ticket and never will, so nothing is stored.
    /// </summary>
    public bool TryGiveUp() => Interlocked.CompareExchange(ref _state, GivenUp, Waiting) == Waiting;

    /// <summary>Notes a message's row. Only the writer calls it, before <see cref="Stored"/>.</summary>
    public void SetId(int index, long outboxId) => _answers[index] = new PublishAnswer(outboxId, false, -1);

    /// <summary>All messages are in Postgres.</summary>
    public void Stored()
    {
        Messages = [];  // Their bytes live on in the chunks, under the chunks' own bound.
        Volatile.Write(ref _stored, true);
        if (!WaitForCommit)
        {
            _completion.TrySetResult(_answers);
        }
    }

    /// <summary>A message is on the disks of a majority of the brokers.</summary>
    public void Committed(int index, long offset)
    {
        _answers[index] = _answers[index] with { Committed = true, Offset = offset };
        if (Interlocked.Decrement(ref _uncommitted) == 0)
        {
            _completion.TrySetResult(_answers);
        }
    }

    public void Fail(PublishException reason) => _completion.TrySetException(reason);
}
