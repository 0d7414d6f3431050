using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Names a topic for good, as clients see it: its shard, and its number there, which is never given twice. 0: none.
/// </summary>
/// <param name="Value">The shard's group from bit 40 on; below it the topic's number, counted from 1.</param>
public readonly record struct TopicId(ulong Value)
{
    private const int GroupShift = 40;

    public TopicId(GroupId group, int number)
        : this(((ulong)group.Value << GroupShift) | ((ulong)number + 1))
    {
    }

    public bool IsNone => Value == 0;

    /// <summary>The number in the shard, from 0.</summary>
    public long Number => (long)(Value & ((1UL << GroupShift) - 1)) - 1;

    /// <summary>Whether a topic of that shard may have this id.</summary>
    public bool IsOf(GroupId group) => Value >> GroupShift == (ulong)group.Value && Number is >= 0 and <= int.MaxValue;
}
