using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// What a topic keeps and takes. A topic that its first publish made has <see cref="Default"/>. 0 means: no limit.
/// <code>
/// in a command: u64 max age ms | u64 max bytes | u64 max records | u32 max message bytes
///   at the command's end, where they are not all as by default: u8 compact | u64 compact after ms
///   | u64 delete marker ms
/// in a snapshot: the same, each as a varint; before format 4 without the second line
/// </code>
/// </summary>
public sealed record TopicSettings
{
    /// <summary>In a command.</summary>
    internal const int EncodedBytes = (3 * sizeof(ulong)) + sizeof(uint);

    /// <summary>A day.</summary>
    public const long DefaultDeleteMarkerMs = 24 * 60 * 60 * 1_000L;

    public static readonly TopicSettings Default = new();

    /// <summary>Records older than so many milliseconds go, by their batch's time.</summary>
    public long MaxAgeMs { get; init; }

    /// <summary>
    /// So many bytes of batches are kept at least, the newest; more, by what the topic has in one segment at most.
    /// </summary>
    public long MaxBytes { get; init; }

    /// <summary>So many records are kept, the newest.</summary>
    public long MaxRecords { get; init; }

    /// <summary>A record whose value is larger is refused. Default: <see cref="Limits.RecordBytes"/>.</summary>
    public int MaxMessageBytes { get; init; } = Limits.RecordBytes;

    /// <summary>Of the records of a key only the last one is kept.</summary>
    public bool Compact { get; init; }

    /// <summary>Records younger than so many milliseconds are not compacted.</summary>
    public long CompactAfterMs { get; init; }

    /// <summary>So many milliseconds a delete marker is kept that is the last record of its key.</summary>
    public long DeleteMarkerMs { get; init; } = DefaultDeleteMarkerMs;

    /// <summary>Whether anything goes by itself.</summary>
    public bool HasRetention => MaxAgeMs > 0 || MaxBytes > 0 || MaxRecords > 0 || Compact;

    /// <summary>Bytes at the end of a command.</summary>
    internal int CompactionBytes => HasCompaction ? 1 + (2 * sizeof(ulong)) : 0;

    /// <summary>Why these settings cannot be together, as a sentence; null: they can.</summary>
    public string? Contradiction => Compact && MaxAgeMs > 0 && CompactAfterMs >= MaxAgeMs
        ? $"compact_after_ms is {CompactAfterMs} and max_age_ms {MaxAgeMs}: every record would be removed for its age "
            + "before it may be compacted. Let compact_after_ms be less, or leave compact out."
        : null;

    private bool HasCompaction => Compact || CompactAfterMs != 0 || DeleteMarkerMs != DefaultDeleteMarkerMs;

    /// <summary>These settings in the parts that are named, another's in all others.</summary>
    internal TopicSettings Over(TopicSettings other, TopicSettingParts parts) => new()
    {
        MaxAgeMs = parts.HasFlag(TopicSettingParts.MaxAge) ? MaxAgeMs : other.MaxAgeMs,
        MaxBytes = parts.HasFlag(TopicSettingParts.MaxBytes) ? MaxBytes : other.MaxBytes,
        MaxRecords = parts.HasFlag(TopicSettingParts.MaxRecords) ? MaxRecords : other.MaxRecords,
        MaxMessageBytes = parts.HasFlag(TopicSettingParts.MaxMessageBytes) ? MaxMessageBytes : other.MaxMessageBytes,
        Compact = parts.HasFlag(TopicSettingParts.Compact) ? Compact : other.Compact,
        CompactAfterMs = parts.HasFlag(TopicSettingParts.CompactAfter) ? CompactAfterMs : other.CompactAfterMs,
        DeleteMarkerMs = parts.HasFlag(TopicSettingParts.DeleteMarker) ? DeleteMarkerMs : other.DeleteMarkerMs,
    };

    internal void AddTo(ref StateHasher hash)
    {
        hash.Add(MaxAgeMs);
        hash.Add(MaxBytes);
        hash.Add(MaxRecords);
        hash.Add(MaxMessageBytes);
        if (HasCompaction)
        {
            hash.Add(Compact ? 1 : 0);
            hash.Add(CompactAfterMs);
            hash.Add(DeleteMarkerMs);
        }
    }

    internal void Write(ref PayloadWriter writer)
    {
        writer.PutUInt64((ulong)MaxAgeMs);
        writer.PutUInt64((ulong)MaxBytes);
        writer.PutUInt64((ulong)MaxRecords);
        writer.PutUInt32((uint)MaxMessageBytes);
    }

    /// <summary>At the end of a command.</summary>
    internal void WriteCompaction(ref PayloadWriter writer)
    {
        if (HasCompaction)
        {
            writer.PutByte(Compact ? (byte)1 : (byte)0);
            writer.PutUInt64((ulong)CompactAfterMs);
            writer.PutUInt64((ulong)DeleteMarkerMs);
        }
    }

    /// <summary>At the end of a command; without it these are the defaults.</summary>
    internal TopicSettings ReadCompaction(ref PayloadReader reader) => reader.Rest.IsEmpty ? this : this with
    {
        Compact = reader.TakeByte() != 0,
        CompactAfterMs = (long)reader.TakeUInt64(),
        DeleteMarkerMs = (long)reader.TakeUInt64(),
    };

    internal static TopicSettings Read(ref PayloadReader reader) => new()
    {
        MaxAgeMs = (long)reader.TakeUInt64(),
        MaxBytes = (long)reader.TakeUInt64(),
        MaxRecords = (long)reader.TakeUInt64(),
        MaxMessageBytes = (int)reader.TakeUInt32(),
    };

    internal void Write(ref SnapshotWriter writer)
    {
        writer.PutVarint(MaxAgeMs);
        writer.PutVarint(MaxBytes);
        writer.PutVarint(MaxRecords);
        writer.PutVarint(MaxMessageBytes);
        writer.PutVarint(Compact ? 1 : 0);
        writer.PutVarint(CompactAfterMs);
        writer.PutVarint(DeleteMarkerMs);
    }

    internal static TopicSettings Read(ref SnapshotReader reader, bool hasCompaction)
    {
        var settings = ReadLimits(ref reader);
        return !hasCompaction ? settings : settings with
        {
            Compact = reader.TakeVarint(1) == 1,
            CompactAfterMs = reader.TakeVarint(long.MaxValue),
            DeleteMarkerMs = reader.TakeVarint(long.MaxValue),
        };
    }

    private static TopicSettings ReadLimits(ref SnapshotReader reader) => new()
    {
        MaxAgeMs = reader.TakeVarint(long.MaxValue),
        MaxBytes = reader.TakeVarint(long.MaxValue),
        MaxRecords = reader.TakeVarint(long.MaxValue),
        MaxMessageBytes = (int)reader.TakeVarint(Limits.RecordBytes),
    };
}

/// <summary>Which settings an update sets; the numbers are on disk.</summary>
[Flags]
internal enum TopicSettingParts : byte
{
    None = 0,
    MaxAge = 1,
    MaxBytes = 2,
    MaxRecords = 4,
    MaxMessageBytes = 8,
    Compact = 16,
    CompactAfter = 32,
    DeleteMarker = 64,
    All = MaxAge | MaxBytes | MaxRecords | MaxMessageBytes | Compact | CompactAfter | DeleteMarker,
}
