using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// What a replica knows about one topic. The apply thread writes; readers see it through <see cref="TopicView"/>.
/// </summary>
internal sealed class TopicState(string name, ulong nameHash)
{
    public string Name { get; } = name;

    /// <summary>For the state hash, so that it does not read the name again for every batch.</summary>
    public ulong NameHash { get; } = nameHash;

    public BatchIndex Batches { get; } = new();

    /// <summary>Null until the first stamped publish; touched by the apply thread alone.</summary>
    public ProducerTable? Producers { get; set; }

    /// <summary>Adds a batch, visible to readers when this returns; gives its first offset.</summary>
    public long Append(LogEntry entry, int recordCount, int position, int length)
    {
        var baseOffset = Batches.NextOffset;
        Batches.Append(new BatchLocation(
            baseOffset, recordCount, position, entry.Index, entry.TimestampUnixMs, length));
        return baseOffset;
    }
}
