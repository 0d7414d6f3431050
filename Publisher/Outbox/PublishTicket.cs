using System.Diagnostics;

namespace Publisher.Outbox;

/// <summary>The answer for one message. Offset -1: not known. Partition: of what is committed.</summary>
internal readonly record struct PublishAnswer(long OutboxId, bool Committed, long Offset, int Partition = 0);

/// <summary>
/// One request's messages and the task that its caller awaits. The writer stores them, the lanes of their topics commit
/// them; lanes run side by side, so what they share is guarded by the lock.
/// </summary>
internal sealed class PublishTicket
{
    private const int Waiting = 0;
    private const int Taken = 1;
    private const int GivenUp = 2;

    private readonly TaskCompletionSource<PublishAnswer[]> _completion =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly Lock _lock = new();
    private readonly PublishAnswer[] _answers;
    private bool[]? _repeated;
    private int _uncommitted;
    private int _state;
    private bool _stored;
    private bool _waitForCommit;

    public PublishTicket(IReadOnlyList<OutboxMessage> messages, bool waitForCommit)
    {
        Messages = messages;
        _waitForCommit = waitForCommit;
        _answers = new PublishAnswer[messages.Count];
        _uncommitted = messages.Count;
        foreach (var message in messages)
        {
            SizeBytes += message.Record.FieldBytes;
            HasKeys |= message.Once is not null;
        }
    }

    public IReadOnlyList<OutboxMessage> Messages { get; private set; }

    /// <summary>Whether any message has an idempotency key.</summary>
    public bool HasKeys { get; }

    public bool WaitForCommit => Volatile.Read(ref _waitForCommit);

    /// <summary>The span of the request's publish, when it has one.</summary>
    public Activity? Span { get; init; }

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

    /// <summary>
    /// A message stands in the outbox already, under its idempotency key. Only the writer calls it, before
    /// <see cref="Stored"/>.
    /// </summary>
    public void SetRepeated(int index, long outboxId)
    {
        _repeated ??= new bool[_answers.Length];
        _repeated[index] = true;
        SetId(index, outboxId);
    }

    /// <summary>Whether a message stands in the outbox already.</summary>
    public bool IsRepeated(int index) => _repeated is not null && _repeated[index];

    /// <summary>Whether every message stands in the outbox already.</summary>
    public bool IsAllRepeated => _repeated is not null && Array.TrueForAll(_repeated, repeated => repeated);

    /// <summary>All messages are in Postgres.</summary>
    public void Stored()
    {
        lock (_lock)
        {
            Messages = [];  // Their bytes live on in the chunks, under the chunks' own bound.
            _stored = true;
            if (!_waitForCommit)
            {
                Answer();
            }
        }
    }

    /// <summary>The caller has waited long enough for the brokers: it is answered as soon as all is stored.</summary>
    public void AnswerWhenStored()
    {
        lock (_lock)
        {
            _waitForCommit = false;
            if (_stored)
            {
                Answer();
            }
        }
    }

    /// <summary>A message is on the disks of a majority of the brokers.</summary>
    public void Committed(int index, int partition, long offset)
    {
        lock (_lock)
        {
            _answers[index] = _answers[index] with { Committed = true, Offset = offset, Partition = partition };
            if (--_uncommitted == 0 && _waitForCommit)
            {
                Answer();
            }
        }
    }

    /// <summary>What became of a message's row elsewhere. Only what is committed is ever deleted.</summary>
    public void Finish(int index, OutboxStore.MessageRow? row)
    {
        if (row is { State: 2 })
        {
            Fail(new PublishException(PublishFailure.Invalid, $"The brokers refused it: {row.Error}"));
        }
        else
        {
            Committed(index, row?.Partition ?? 0, row?.Offset ?? -1);
        }
    }

    public void Fail(PublishException reason) => _completion.TrySetException(reason);

    // A copy: what is committed later must not change an answer that is being written.
    private void Answer() => _completion.TrySetResult([.. _answers]);
}
