using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// The unit that is sent: all rows of one insert that share producer, topic and first sequence. Its boundaries are
/// stored with the rows, so whoever sends it again after any crash sends the same batch under the same stamp, and the
/// brokers drop the second.
/// </summary>
internal sealed class Chunk(long producerId, string topic, long firstSequence, int count, int sizeBytes)
{
    /// <summary>Changes only when a hole in the producer's sequence forces the rows under a new id.</summary>
    public long ProducerId { get; set; } = producerId;

    public string Topic { get; } = topic;

    public long FirstSequence { get; } = firstSequence;

    public int Count { get; } = count;

    public int SizeBytes { get; } = sizeBytes;

    /// <summary>The first row; 0 until the chunk is stored.</summary>
    public long FirstId { get; set; }

    /// <summary>The encoded batch; null while it is only in Postgres.</summary>
    public byte[]? Batch { get; set; }

    /// <summary>Who waits for the commit of each row; null when nobody does.</summary>
    public (PublishTicket? Ticket, int Index)[]? Waiters { get; set; }

    /// <summary>Answers those who wait. Offset -1: the brokers know that it is stored but not where any more.</summary>
    public void AnswerCommitted(long baseOffset)
    {
        for (var i = 0; i < (Waiters?.Length ?? 0); i++)
        {
            Waiters![i].Ticket?.Committed(Waiters[i].Index, baseOffset < 0 ? -1 : baseOffset + i);
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
