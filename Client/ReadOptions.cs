namespace Broker.Client;

/// <summary>Where a read begins and when it ends. Default: everything from the topic's beginning to its end.</summary>
public sealed record ReadOptions
{
    /// <summary>The partition to read, from 0; a read has one. Default: 0, of most topics the only one.</summary>
    public int Partition { get; init; }

    /// <summary>
    /// First offset wanted. Default null: the topic's beginning, unless <see cref="FromEnd"/> is set.
    /// </summary>
    public long? FromOffset { get; init; }

    /// <summary>
    /// Begin with the first batch that the broker took at this time or later, to the millisecond. A time after the last
    /// batch: the end. Ignored with FromOffset. Default null.
    /// </summary>
    public DateTimeOffset? FromTime { get; init; }

    /// <summary>
    /// Begin after what is committed now. Makes sense with <see cref="Follow"/>. Ignored with FromOffset and FromTime.
    /// Default false.
    /// </summary>
    public bool FromEnd { get; init; }

    /// <summary>
    /// Begin with the last record of each key, and those without a key, of all that is committed now, in offset order;
    /// with <see cref="Follow"/> everything that comes follows. A last record with an empty value comes, too: its key
    /// is deleted. The topic need not be compacted. Refused (ResourceExhausted) for a topic of more than 900,000 keys.
    /// Ignored with FromOffset, FromTime and FromEnd. Default false.
    /// </summary>
    public bool LastPerKey { get; init; }

    /// <summary>
    /// Stay at the end, wait for what is published from now on, and for the topic itself when it does not exist yet.
    /// Such a read ends only by its cancellation token or MaxRecords. Default false: the read ends at the last
    /// committed record.
    /// </summary>
    public bool Follow { get; init; }

    /// <summary>
    /// Miss nothing whose publish was answered before the read began, whoever published it, at whatever broker: the
    /// broker that is read from first asks the leader how far the topic is. Costs a round trip at the beginning.
    /// Default false: the broker that is read from may lag by a network hop.
    /// </summary>
    public bool Linearizable { get; init; }

    /// <summary>
    /// Hears, after the records of each answer were handed out, the first offset that this read has not dealt with: it
    /// moves over records that are gone, too. Default null.
    /// </summary>
    public IProgress<long>? Progress { get; init; }

    /// <summary>End after so many records. Default 0: no limit.</summary>
    public int MaxRecords { get; init; }
}
