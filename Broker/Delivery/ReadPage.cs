namespace Broker.Delivery;

/// <summary>One answer to a reader.</summary>
/// <param name="Batches">
/// At least one, in offset order. The first may begin before the offset that was asked for.
/// </param>
/// <param name="NextOffset">The first offset after them.</param>
/// <param name="HighWatermark">The offset that the topic's next record will get.</param>
public sealed record ReadPage(IReadOnlyList<CommittedBatch> Batches, long NextOffset, long HighWatermark);
