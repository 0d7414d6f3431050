namespace Broker.Diagnostics;

/// <summary>Batches that this node put on the live plane, and those that it could not, since its start.</summary>
public readonly record struct LiveFigures(long PublishedBatches, long DroppedBatches);
