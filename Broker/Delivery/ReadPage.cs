using Broker.Topics;

namespace Broker.Delivery;

/// <summary>One answer to a reader.</summary>
/// <param name="Batches">
/// In offset order. The first may begin before the offset that was asked for. Between two of them may be offsets whose
/// records are gone. None only at the end of a read, where the last records are gone.
/// </param>
/// <param name="NextOffset">From where to read on: behind them, and behind what is gone after them.</param>
/// <param name="HighWatermark">The offset that the topic's next record will get.</param>
/// <param name="Topic">The topic of that name which they belong to.</param>
public sealed record ReadPage(
    IReadOnlyList<CommittedBatch> Batches, long NextOffset, long HighWatermark, TopicId Topic);
