namespace Broker.Client;

/// <summary>
/// What a topic keeps and takes. Creating a topic, null means the default; updating one, null means no change. What is
/// beyond a limit goes by itself, the oldest records first, mostly within a second.
/// </summary>
public sealed record TopicSettings
{
    /// <summary>
    /// Partitions, each with offsets of its own and limits for itself: 1 to 1,000. A message goes to the partition of
    /// its key. It cannot be changed. Default: 1.
    /// </summary>
    public int? Partitions { get; init; }

    /// <summary>
    /// Records older than this are removed, by the time of their batch, in whole milliseconds. Zero: no limit, the
    /// default.
    /// </summary>
    public TimeSpan? MaxAge { get; init; }

    /// <summary>
    /// At least so many bytes of encoded batches are kept, the newest; more by what the topic has in one segment of the
    /// log at most. 0: no limit, the default.
    /// </summary>
    public long? MaxBytes { get; init; }

    /// <summary>So many records are kept, the newest. 0: no limit, the default.</summary>
    public long? MaxRecords { get; init; }

    /// <summary>
    /// Of each key only the last record is kept, besides what the limits remove; records without a key all stay.
    /// Default: false.
    /// </summary>
    public bool? Compact { get; init; }

    /// <summary>
    /// Records younger than this are not compacted, in whole milliseconds; less than MaxAge, where there is one. Zero,
    /// the default: all but the newest part of the log may be.
    /// </summary>
    public TimeSpan? CompactAfter { get; init; }

    /// <summary>
    /// In a compacted topic a message with a key and an empty value deletes its key, and goes itself after this time at
    /// the earliest, in whole milliseconds. Default: a day.
    /// </summary>
    public TimeSpan? DeleteMarkerAge { get; init; }

    /// <summary>
    /// A record whose value has more bytes is refused. 1 to 1,048,576, which is the default.
    /// </summary>
    public int? MaxMessageBytes { get; init; }
}

/// <summary>A topic with its settings and what it holds, as the asked node has applied it.</summary>
/// <param name="Topic">Name, shard, offsets and id.</param>
/// <param name="Settings">Every setting, none of them null.</param>
/// <param name="SizeBytes">Encoded bytes of the batches that can be read.</param>
/// <param name="LastTimestamp">Time of its last batch; null before the first.</param>
public sealed record TopicDetails(
    TopicInfo Topic, TopicSettings Settings, long SizeBytes, DateTimeOffset? LastTimestamp);

/// <summary>How topics come to be.</summary>
/// <param name="AutoCreate">Whether a publish to a name that no topic has makes one.</param>
/// <param name="Templates">What topics are given whose names match a filter, by filter; null parts are not set.</param>
public sealed record TopicRules(bool AutoCreate, IReadOnlyDictionary<string, TopicSettings> Templates);
