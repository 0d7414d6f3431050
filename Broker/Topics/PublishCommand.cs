namespace Broker.Topics;

/// <summary>A publish as it stands in an entry's body.</summary>
public readonly ref struct PublishCommand
{
    /// <summary>The topic's name in UTF-8.</summary>
    public required ReadOnlySpan<byte> Topic { get; init; }

    /// <summary>The offset that the first record must get; -1: any.</summary>
    public required long ExpectedOffset { get; init; }

    /// <summary>
    /// The number that the topic must have, which is a partition; -1: a topic of one partition, whatever its number.
    /// </summary>
    public required int TopicNumber { get; init; }

    public required PublishStamp Stamp { get; init; }

    public required int RecordCount { get; init; }

    /// <summary>The producer's encoded RecordBatch; empty, when it was thinned.</summary>
    public required ReadOnlySpan<byte> Batch { get; init; }

    /// <summary>Where the batch begins within the entry's body, or began before that was thinned.</summary>
    public required int BatchPosition { get; init; }

    /// <summary>Bytes of the batch, as it was published.</summary>
    public required int BatchBytes { get; init; }

    /// <summary>Some records may have a time before which groups do not get them.</summary>
    public bool MayBeDelayed { get; init; }

    /// <summary>The batch was taken out, wholly or in part: nobody can read what is missing.</summary>
    public bool IsThinned { get; init; }

    /// <summary>Of a thinned batch: the bytes of the largest value that it had.</summary>
    public int LargestValueBytes { get; init; }

    /// <summary>Of a thinned batch: its records' times, see <see cref="DeliveryTimes"/>.</summary>
    public ReadOnlySpan<byte> Delays { get; init; }

    /// <summary>Of a thinned batch: what is left of it, see <see cref="ThinnedPublish"/>.</summary>
    public ReadOnlySpan<byte> Remains { get; init; }
}
