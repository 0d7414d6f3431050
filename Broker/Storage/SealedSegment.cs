using Broker.Domain;

namespace Broker.Storage;

/// <summary>A segment that nothing is appended to any more.</summary>
/// <param name="First">Its first entry.</param>
/// <param name="Last">Its last entry.</param>
/// <param name="SizeBytes">What its entries take in the file.</param>
/// <param name="IsDamaged">Something in it is not what was written: it waits for <see
/// cref="GroupLog.ReplaceSegment"/>.</param>
public readonly record struct SealedSegment(LogIndex First, LogIndex Last, long SizeBytes, bool IsDamaged);
