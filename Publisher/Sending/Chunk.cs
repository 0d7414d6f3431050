using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// The unit that is sent: all rows of one insert that share producer, topic and first sequence. Its boundaries are
/// stored with the rows, so whoever sends it again after any crash sends the same batch under the same stamp, and the
/// brokers drop the second.
/// </summary>
internal sealed class Chunk(long producerId, string topic, long firstSequence, int count, int sizeBytes)
{
    /// <summary>No partition was chosen: the topic has one, or nobody knows yet how many it has.</summary>
    public const int Undivided = -1;

    /// <summary>Changes only when a hole in the producer's sequence forces the rows under a new id.</summary>
    public long ProducerId { get; set; } = producerId;

    public string Topic { get; } = topic;

    /// <summary>
    /// The partition of the keys of all its records, in which its sequence counts; or <see cref="Undivided"/>.
    /// </summary>
    public int Partition { get; init; } = Undivided;

    /// <summary>
    /// Of an undivided chunk: it was sent, and the answer did not say that nothing of it is stored. It must not come
    /// under another stamp.
    /// </summary>
    public bool MayBeStored { get; set; }

    /// <summary>The topic does not have its partition any more: it was deleted, and made again with fewer.</summary>
    public bool IsMisplaced { get; set; }

    public long FirstSequence { get; } = firstSequence;

    public int Count { get; } = count;

    public int SizeBytes { get; } = sizeBytes;

    /// <summary>
    /// Its rows, in their order, with copies behind each other (see OutboxWriter); none until it is stored.
    /// </summary>
    public IReadOnlyList<long> Ids { get; init; } = [];

    /// <summary>The encoded batch; null while it is only in Postgres.</summary>
    public byte[]? Batch { get; set; }

    /// <summary>Who waits for the commit of each row; null when nobody does.</summary>
    public (PublishTicket? Ticket, int Index)[]? Waiters { get; set; }

    /// <summary>Answers those who wait. Offset -1: the brokers know that it is stored but not where any more.</summary>
    public void AnswerCommitted(int partition, long baseOffset)
    {
        for (var i = 0; i < (Waiters?.Length ?? 0); i++)
        {
            Waiters![i].Ticket?.Committed(Waiters[i].Index, partition, baseOffset < 0 ? -1 : baseOffset + i);
        }

        Waiters = null;
    }

    /// <summary>Answers those who wait with what another process made of the rows.</summary>
    public void AnswerAs(IReadOnlyDictionary<long, OutboxStore.MessageRow> rows)
    {
        for (var i = 0; i < (Waiters?.Length ?? 0); i++)
        {
            Waiters![i].Ticket?.Finish(Waiters[i].Index, rows.GetValueOrDefault(Ids[i]));
        }

        Waiters = null;
    }

    public void AnswerRefused(PublishException reason)
    {
        foreach (var (ticket, _) in Waiters ?? [])
        {
            ticket?.Fail(reason);
        }

        Waiters = null;
    }
}
