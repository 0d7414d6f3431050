namespace Broker.Delivery;

/// <summary>A committed batch with the producer's own bytes, which are shared with the log and never changed.</summary>
public readonly record struct CommittedBatch(
    long BaseOffset, int Count, long TimestampUnixMs, ReadOnlyMemory<byte> Batch);
