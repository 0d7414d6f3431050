using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>A producer's last batches on one topic, and its place in the table's order of silence.</summary>
internal sealed class ProducerState(ulong id)
{
    private RememberedBatch[] _ring = new RememberedBatch[1];
    private int _oldest;
    private int _count;

    public ulong Id { get; } = id;

    public uint Epoch { get; private set; }

    /// <summary>
    /// The sequence with which the producer began its epoch here. Of what lies before it the table knows nothing.
    /// </summary>
    public ulong FirstSequence { get; private set; }

    /// <summary>The sequence that the producer's next record must have.</summary>
    public ulong NextSequence { get; private set; }

    public ProducerState? Older { get; set; }

    public ProducerState? Newer { get; set; }

    /// <summary>
    /// A newer epoch starts over: what older ones sent can no longer be repeated, for they are fenced.
    /// </summary>
    public void BeginEpoch(uint epoch, ulong firstSequence)
    {
        Epoch = epoch;
        FirstSequence = firstSequence;
        _count = 0;
    }

    public void Remember(in RememberedBatch batch)
    {
        if (_count == _ring.Length && _count < Limits.RememberedBatchesPerProducer)
        {
            Grow();
        }

        if (_count == _ring.Length)
        {
            _oldest = (_oldest + 1) % _ring.Length;
            _count--;
        }

        _ring[(_oldest + _count) % _ring.Length] = batch;
        _count++;
        NextSequence = batch.FirstSequence + (ulong)batch.Count;
    }

    /// <summary>
    /// Batches that are remembered: at least one, of this epoch, each beginning where the last one ended.
    /// </summary>
    public int RememberedCount => _count;

    public long LastTimestampUnixMs => Remembered(_count - 1).TimestampUnixMs;

    /// <summary>A remembered batch; 0 is the oldest.</summary>
    public RememberedBatch Remembered(int ordinal) => _ring[(_oldest + ordinal) % _ring.Length];

    public bool TryRecall(ulong firstSequence, int count, [NotNullWhen(true)] out RememberedBatch? batch)
    {
        for (var i = _count - 1; i >= 0; i--)
        {
            var remembered = Remembered(i);
            if (remembered.FirstSequence == firstSequence && remembered.Count == count)
            {
                batch = remembered;
                return true;
            }
        }

        batch = null;
        return false;
    }

    // Most producers have few batches in flight, so the ring begins with one slot and doubles.
    private void Grow()
    {
        var grown = new RememberedBatch[Math.Min(_ring.Length * 2, Limits.RememberedBatchesPerProducer)];
        for (var i = 0; i < _count; i++)
        {
            grown[i] = Remembered(i);
        }

        _ring = grown;
        _oldest = 0;
    }
}
