namespace Broker.Topics;

/// <summary>
/// Which batch of which producer a publish is, as in KIP-98. A producer id of 0 means that the publish is not
/// idempotent, and the other two fields mean nothing. The sequence counts records: a batch's is that of its first
/// record.
/// </summary>
public readonly record struct PublishStamp(ulong ProducerId, uint Epoch, ulong Sequence)
{
    public static readonly PublishStamp None;

    public bool IsNone => ProducerId == 0;
}
