using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// What a topic keeps and takes. A topic that its first publish made has <see cref="Default"/>. 0 means: no limit.
/// <code>
/// in a command: u64 max age ms | u64 max bytes | u64 max records | u32 max message bytes
/// in a snapshot: the same, each as a varint
/// </code>
/// </summary>
public sealed record TopicSettings
{
    /// <summary>In a command.</summary>
    internal const int EncodedBytes = (3 * sizeof(ulong)) + sizeof(uint);

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

    /// <summary>Whether anything goes by itself.</summary>
    public bool HasRetention => MaxAgeMs > 0 || MaxBytes > 0 || MaxRecords > 0;

    /// <summary>These settings in the parts that are named, another's in all others.</summary>
    internal TopicSettings Over(TopicSettings other, TopicSettingParts parts) => new()
    {
        MaxAgeMs = parts.HasFlag(TopicSettingParts.MaxAge) ? MaxAgeMs : other.MaxAgeMs,
        MaxBytes = parts.HasFlag(TopicSettingParts.MaxBytes) ? MaxBytes : other.MaxBytes,
        MaxRecords = parts.HasFlag(TopicSettingParts.MaxRecords) ? MaxRecords : other.MaxRecords,
        MaxMessageBytes = parts.HasFlag(TopicSettingParts.MaxMessageBytes) ? MaxMessageBytes : other.MaxMessageBytes,
    };

    internal void AddTo(ref StateHasher hash)
    {
        hash.Add(MaxAgeMs);
        hash.Add(MaxBytes);
        hash.Add(MaxRecords);
        hash.Add(MaxMessageBytes);
    }

    internal void Write(ref PayloadWriter writer)
    {
        writer.PutUInt64((ulong)MaxAgeMs);
        writer.PutUInt64((ulong)MaxBytes);
        writer.PutUInt64((ulong)MaxRecords);
        writer.PutUInt32((uint)MaxMessageBytes);
    }

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
    }

    internal static TopicSettings Read(ref SnapshotReader reader) => new()
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
    All = MaxAge | MaxBytes | MaxRecords | MaxMessageBytes,
}
