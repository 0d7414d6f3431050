using System.Diagnostics.CodeAnalysis;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// The idempotent producers of one topic (KIP-98): decides whether a stamped batch is new, a repetition, or out of
/// turn. It depends on the log alone, so every replica decides the same.
/// </summary>
internal sealed partial class ProducerTable(int maxProducers)
{
    private readonly Dictionary<ulong, ProducerState> _producers = [];

    // A list from the producer whose last batch is oldest to the one whose is newest. Batches come in log order, so
    // "lowest log index first" is this order, and two batches of one entry still have a definite one.
    private ProducerState? _oldest;
    private ProducerState? _newest;

    public int Count => _producers.Count;

    /// <summary>Whether so many new ones are not too many.</summary>
    public bool HasRoomFor(int more) => _producers.Count + more <= maxProducers;

    public bool Knows(ulong producerId) => TryFind(producerId, out _);

    /// <summary>Reads what <see cref="Remember"/> will, so that it is at hand then; the number means nothing.</summary>
    public long Touch() => _newest?.LastTimestampUnixMs ?? 0;

    /// <summary>
    /// True: the batch is to be appended, and then remembered by <see cref="Remember"/>. False: it is not, and the
    /// answer says why.
    /// </summary>
    public bool Admits(in PublishStamp stamp, int count, out CommandResult answer)
    {
        answer = default;

        // A producer that is unknown (new, or long silent) may start anywhere, and so may a newer epoch.
        if (!TryFind(stamp.ProducerId, out var producer) || stamp.Epoch > producer.Epoch)
        {
            return true;
        }

        if (stamp.Epoch < producer.Epoch)
        {
            answer = new CommandResult { Code = RefusalCode.ProducerFenced, Expected = producer.Epoch };
            return false;
        }

        var next = producer.NextSequence;
        if (stamp.Sequence == next)
        {
            return true;
        }

        // What lies before the producer's first known batch may be one that was lost while a later one arrived: to call
        // it a repetition would acknowledge what is stored nowhere. The last comparison cannot wrap, as a sum could.
        if (stamp.Sequence >= producer.FirstSequence
            && stamp.Sequence < next
            && next - stamp.Sequence >= (ulong)count)
        {
            answer = Repeat(producer, stamp.Sequence, count);
            return false;
        }

        // A gap, or a batch that is part old and part new: the producer cut its records differently, which it must not.
        answer = new CommandResult { Code = RefusalCode.OutOfSequence, Expected = next };
        return false;
    }

    public void Remember(in PublishStamp stamp, int count, long baseOffset, long timestampUnixMs)
    {
        if (!TryFind(stamp.ProducerId, out var producer))
        {
            producer = new ProducerState(stamp.ProducerId);
            _producers.Add(stamp.ProducerId, producer);
            producer.BeginEpoch(stamp.Epoch, stamp.Sequence);
            LinkNewest(producer);
        }
        else
        {
            if (producer != _newest)
            {
                Unlink(producer);
                LinkNewest(producer);
            }

            if (stamp.Epoch > producer.Epoch)
            {
                producer.BeginEpoch(stamp.Epoch, stamp.Sequence);
            }
        }

        producer.Remember(new RememberedBatch(stamp.Sequence, count, baseOffset, timestampUnixMs));
    }

    /// <summary>Most topics have one producer, and of several the one that goes on is mostly the newest.</summary>
    private bool TryFind(ulong id, [NotNullWhen(true)] out ProducerState? producer)
    {
        producer = _newest;
        return producer?.Id == id || _producers.TryGetValue(id, out producer);
    }

    private static CommandResult Repeat(ProducerState producer, ulong sequence, int count)
    {
        var result = new CommandResult { BaseOffset = -1, Count = count, Duplicate = true };
        if (producer.TryRecall(sequence, count, out var batch))
        {
            result.BaseOffset = batch.Value.BaseOffset;
            result.TimestampUnixMs = batch.Value.TimestampUnixMs;
        }

        return result;
    }

    /// <summary>Forgets the producers whose last batch came before a time; returns how many.</summary>
    public int Forget(long beforeUnixMs)
    {
        var count = 0;
        for (; _oldest is { } oldest && oldest.LastTimestampUnixMs < beforeUnixMs; count++)
        {
            Unlink(oldest);
            _producers.Remove(oldest.Id);
        }

        return count;
    }

    private void LinkNewest(ProducerState producer)
    {
        producer.Older = _newest;
        if (_newest is null)
        {
            _oldest = producer;
        }
        else
        {
            _newest.Newer = producer;
        }

        _newest = producer;
    }

    private void Unlink(ProducerState producer)
    {
        if (producer.Older is null)
        {
            _oldest = producer.Newer;
        }
        else
        {
            producer.Older.Newer = producer.Newer;
        }

        if (producer.Newer is null)
        {
            _newest = producer.Older;
        }
        else
        {
            producer.Newer.Older = producer.Older;
        }

        producer.Older = null;
        producer.Newer = null;
    }
}
