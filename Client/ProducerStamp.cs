namespace Broker.Client;

/// <summary>
/// Names one batch of one producer on one topic (KIP-98), so that a batch that is sent twice is stored once. Whoever
/// makes stamps keeps three rules: a batch keeps its stamp and its records for ever; per (id, epoch, topic) sequences
/// count every record, from 0, without gaps; the first batch of an id or epoch on a topic is acknowledged before the
/// next one is sent.
/// </summary>
/// <param name="Id">Chosen at random by the producer, never 0.</param>
/// <param name="Epoch">A newer epoch of the same id shuts out the older ones. Sequences begin at 0 again.</param>
/// <param name="Sequence">Sequence of the batch's first record.</param>
public readonly record struct ProducerStamp(ulong Id, uint Epoch, ulong Sequence);
