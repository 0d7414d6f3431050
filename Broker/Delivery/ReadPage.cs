using Broker.Topics;

namespace Broker.Delivery;

/// <summary>One answer to a reader.</summary>
/// <param name="Batches">
/// At least one, in offset order. The first may begin before the offset that was asked for.
/// </param>
/// <param name="NextOffset">The first offset after them.</param>
/// <param name="HighWatermark">The offset that the topic's next record will get.</param>
/// <param name="Topic">The topic of that name which they belong to.</param>
public sealed record ReadPage(
    IReadOnlyList<CommittedBatch> Batches, long NextOffset, long HighWatermark, TopicId Topic);
