using System.Collections.Immutable;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>The consumer groups of the cluster. Immutable.</summary>
/// <param name="ByName">All of them.</param>
/// <param name="ByNumber">The same.</param>
/// <param name="NextNumber">The number that the next one gets; those below it were given.</param>
public sealed record ConsumerGroups(
    ImmutableSortedDictionary<string, ConsumerGroup> ByName,
    ImmutableSortedDictionary<int, ConsumerGroup> ByNumber,
    int NextNumber)
{
    public static readonly ConsumerGroups Empty = new(
        ImmutableSortedDictionary.Create<string, ConsumerGroup>(StringComparer.Ordinal),
        ImmutableSortedDictionary<int, ConsumerGroup>.Empty,
        1);

    public ConsumerGroup? Find(string name) => ByName.GetValueOrDefault(name);

    public ConsumerGroup? Find(int number) => ByNumber.GetValueOrDefault(number);

    /// <summary>With a group in the place of the one of its number, or as a new one.</summary>
    internal ConsumerGroups With(ConsumerGroup group) => this with
    {
        ByName = ByName.SetItem(group.Name, group),
        ByNumber = ByNumber.SetItem(group.Number, group),
    };

    internal ConsumerGroups Without(ConsumerGroup group) => this with
    {
        ByName = ByName.Remove(group.Name),
        ByNumber = ByNumber.Remove(group.Number),
    };
}

/// <summary>A group: what it follows, and how it delivers. How far it is say the shards.</summary>
/// <param name="Number">Given once: a group of a deleted one's name has another.</param>
/// <param name="Name">Its name.</param>
/// <param name="Settings">What it follows, and how it delivers.</param>
/// <param name="Start">Where it begins in topics that are there when it is made.</param>
public sealed record ConsumerGroup(int Number, string Name, ConsumerGroupSettings Settings, GroupStart Start);

/// <summary>How records are shared among the consumers of a group. The numbers are on disk.</summary>
public enum ConsumerGroupMode : byte
{
    Shared = 1,
    KeyOrdered = 2,
    Exclusive = 3,
}

/// <summary>Which of the records that wait to be delivered goes next. The numbers are on disk.</summary>
public enum ConsumerGroupOrder : byte
{
    /// <summary>By offset; 0 as it was before there were others.</summary>
    Offset = 0,

    /// <summary>Keys take turns.</summary>
    Fair = 1,

    /// <summary>By the records' priorities; keys of one priority take turns.</summary>
    Priority = 2,
}

/// <summary>Where a group begins. The numbers are on disk.</summary>
public enum GroupStartKind : byte
{
    Beginning = 1,
    End = 2,
    Time = 3,
}

/// <param name="Kind">Where.</param>
/// <param name="TimeUnixMs">Which time; 0 where it is none.</param>
public readonly record struct GroupStart(GroupStartKind Kind, long TimeUnixMs = 0);

/// <summary>Which of a group's settings a change is about. The numbers are on disk.</summary>
[Flags]
public enum ConsumerGroupParts : byte
{
    None = 0,
    Filters = 1,
    AckWait = 2,
    MaxDeliveries = 4,
    BackOff = 8,
    MaxOutstanding = 16,
    DeadLetters = 32,
    Paused = 64,
    Order = 128,
    All = 255,
}

/// <summary>What a group follows, and how it delivers.</summary>
public sealed record ConsumerGroupSettings
{
    /// <summary>Topic filters, at least one.</summary>
    public required ImmutableArray<string> Filters { get; init; }

    /// <summary>Never changed.</summary>
    public ConsumerGroupMode Mode { get; init; } = ConsumerGroupMode.Shared;

    /// <summary>Which record goes next.</summary>
    public ConsumerGroupOrder Order { get; init; }

    /// <summary>Records of one key are given out one after the other.</summary>
    public bool KeepsKeyOrder => Mode == ConsumerGroupMode.KeyOrdered;

    public bool GoesByPriority => Order == ConsumerGroupOrder.Priority;

    /// <summary>The keys of records must be known before they are given out.</summary>
    public bool LooksAtKeys => KeepsKeyOrder || Order != ConsumerGroupOrder.Offset;

    /// <summary>How long a delivered record is its consumer's.</summary>
    public long AckWaitMs { get; init; } = 30_000;

    /// <summary>Deliveries of a record before it is dead; 0: as many as it takes.</summary>
    public int MaxDeliveries { get; init; } = 20;

    /// <summary>
    /// Waits before the second delivery, the third, and so on; the last one holds for all further ones.
    /// </summary>
    public ImmutableArray<long> BackOffMs { get; init; } = [];

    /// <summary>Records of one shard that may be delivered and not settled.</summary>
    public int MaxOutstanding { get; init; } = 10_000;

    /// <summary>Whether a dead record is kept as a dead letter; else it is only finished.</summary>
    public bool KeepsDeadLetters { get; init; } = true;

    /// <summary>Nothing is delivered.</summary>
    public bool IsPaused { get; init; }

    public bool Equals(ConsumerGroupSettings? other) =>
        other is not null && Filters.SequenceEqual(other.Filters) && Mode == other.Mode
        && AckWaitMs == other.AckWaitMs && MaxDeliveries == other.MaxDeliveries
        && BackOffMs.SequenceEqual(other.BackOffMs) && MaxOutstanding == other.MaxOutstanding
        && KeepsDeadLetters == other.KeepsDeadLetters && IsPaused == other.IsPaused && Order == other.Order;

    public override int GetHashCode() => HashCode.Combine(Filters.Length, Mode, AckWaitMs, MaxDeliveries);

    /// <summary>These in some parts, and others in all else.</summary>
    public ConsumerGroupSettings Over(ConsumerGroupSettings before, ConsumerGroupParts parts)
    {
        ConsumerGroupSettings From(ConsumerGroupParts part) => parts.HasFlag(part) ? this : before;
        return before with
        {
            Filters = From(ConsumerGroupParts.Filters).Filters,
            AckWaitMs = From(ConsumerGroupParts.AckWait).AckWaitMs,
            MaxDeliveries = From(ConsumerGroupParts.MaxDeliveries).MaxDeliveries,
            BackOffMs = From(ConsumerGroupParts.BackOff).BackOffMs,
            MaxOutstanding = From(ConsumerGroupParts.MaxOutstanding).MaxOutstanding,
            KeepsDeadLetters = From(ConsumerGroupParts.DeadLetters).KeepsDeadLetters,
            IsPaused = From(ConsumerGroupParts.Paused).IsPaused,
            Order = From(ConsumerGroupParts.Order).Order,
        };
    }

    /// <summary>On disk: 1 keeps dead letters, 2 is paused, and 4 times the order.</summary>
    internal byte Flags
    {
        get => (byte)((KeepsDeadLetters ? 1 : 0) | (IsPaused ? 2 : 0) | ((int)Order << 2));
        init
        {
            KeepsDeadLetters = (value & 1) != 0;
            IsPaused = (value & 2) != 0;
            Order = (ConsumerGroupOrder)(value >> 2);
        }
    }

    internal void AddTo(ref StateHasher hash)
    {
        foreach (var filter in Filters)
        {
            hash.Add(filter);
        }

        hash.Add((ulong)Mode);
        hash.Add(AckWaitMs);
        hash.Add(MaxDeliveries);
        foreach (var wait in BackOffMs)
        {
            hash.Add(wait);
        }

        hash.Add(MaxOutstanding);
        hash.Add(((ulong)Order << 2) | (KeepsDeadLetters ? 2UL : 0) | (IsPaused ? 1UL : 0));
    }
}
