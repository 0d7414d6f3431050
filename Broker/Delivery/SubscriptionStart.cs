using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>Where a subscription begins in the topics that are there.</summary>
public sealed record SubscriptionStart
{
    /// <summary>At the first record that is kept; else at the end.</summary>
    public bool FromBeginning { get; init; }

    /// <summary>At this time instead.</summary>
    public long? TimeUnixMs { get; init; }

    /// <summary>At the time of each shard's log when an earlier subscription began, instead of all that.</summary>
    public IReadOnlyDictionary<GroupId, long>? ShardTimes { get; init; }

    /// <summary>Where it goes on at an offset.</summary>
    public IReadOnlyList<TopicPosition> Positions { get; init; } = [];

    /// <summary>The time at which to begin in a shard; null: none is said.</summary>
    public long? TimeIn(GroupId group) =>
        ShardTimes is { } times ? times.GetValueOrDefault(group, 0) : TimeUnixMs;
}

/// <param name="Topic">Its name.</param>
/// <param name="Partition">From 0.</param>
/// <param name="Id">Which topic of that name, since names are given again.</param>
/// <param name="NextOffset">The first offset that is wanted.</param>
public readonly record struct TopicPosition(string Topic, int Partition, TopicId Id, long NextOffset);

/// <summary>
/// The times of all shards' logs at one moment, as bytes that only brokers read:
/// <code>u8 format, 1 | for each shard: u32 group | i64 milliseconds since the Unix epoch</code> little-endian.
/// </summary>
internal static class ResumeToken
{
    private const byte Format = 1;
    private const int ShardBytes = sizeof(uint) + sizeof(long);

    public static ReadOnlyMemory<byte> Encode(IEnumerable<(GroupId Group, long TimeUnixMs)> shards)
    {
        var bytes = new List<byte> { Format };
        Span<byte> shard = stackalloc byte[ShardBytes];
        foreach (var (group, time) in shards)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(shard, (uint)group.Value);
            BinaryPrimitives.WriteInt64LittleEndian(shard[sizeof(uint)..], time);
            bytes.AddRange(shard);
        }

        return bytes.ToArray();
    }

    /// <summary>False: these bytes are none of ours.</summary>
    public static bool TryDecode(
        ReadOnlySpan<byte> token, [NotNullWhen(true)] out IReadOnlyDictionary<GroupId, long>? shards)
    {
        shards = null;
        if (token.IsEmpty || token[0] != Format || (token.Length - 1) % ShardBytes != 0)
        {
            return false;
        }

        var times = new Dictionary<GroupId, long>();
        for (var rest = token[1..]; !rest.IsEmpty; rest = rest[ShardBytes..])
        {
            var group = BinaryPrimitives.ReadUInt32LittleEndian(rest);
            var time = BinaryPrimitives.ReadInt64LittleEndian(rest[sizeof(uint)..]);
            if (group > int.MaxValue || time < 0)
            {
                return false;
            }

            times[new GroupId((int)group)] = time;
        }

        shards = times;
        return true;
    }
}
