namespace Broker.Topics;

/// <summary>A batch that a producer may send again, and what it was answered.</summary>
internal readonly record struct RememberedBatch(ulong FirstSequence, int Count, long BaseOffset, long TimestampUnixMs);
