namespace Broker.Client;

/// <summary>What the brokers say of a message that is on the disks of a majority of them.</summary>
/// <param name="Topic">The topic that it was published to.</param>
/// <param name="Offset">
/// Its position in the partition; of a batch, that of its first record. -1: it was stored by an earlier try, so long
/// ago that the brokers do not remember where.
/// </param>
/// <param name="Timestamp">When the leader took it, by the leader's clock, to the millisecond.</param>
/// <param name="Duplicate">Whether an earlier try had stored it already. It is stored once all the same.</param>
/// <param name="Partition">Where it is stored, from 0; offsets count in each partition by itself.</param>
public readonly record struct PublishAck(
    string Topic, long Offset, DateTimeOffset Timestamp, bool Duplicate, int Partition = 0);
