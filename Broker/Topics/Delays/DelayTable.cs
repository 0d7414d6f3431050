using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The records of a shard that groups are to get at a later time: a row each, by topic and offset and by time. It is
/// part of the replicated state; for the thread that applies alone.
/// </summary>
internal sealed class DelayTable
{
    private readonly SortedDictionary<int, TopicDelays> _topics = [];
    private readonly SortedSet<DueRow> _byTime = [];

    /// <summary>Rows.</summary>
    public int Count => _byTime.Count;

    public bool IsEmpty => _topics.Count == 0;

    /// <summary>When the first record is due; long.MaxValue: there is none, or at the end of time.</summary>
    public long NextDueUnixMs => _byTime.Count > 0 ? _byTime.Min.DueUnixMs : long.MaxValue;

    /// <summary>From the one that is due first on.</summary>
    public IEnumerable<DueRow> ByTime => _byTime;

    /// <summary>Of one topic; null: it has none, and had none.</summary>
    public TopicDelays? Find(int topic) => _topics.GetValueOrDefault(topic);

    public TopicDelays Of(int topic)
    {
        if (!_topics.TryGetValue(topic, out var delays))
        {
            _topics.Add(topic, delays = new TopicDelays());
        }

        return delays;
    }

    public void Add(int topic, long offset, long dueUnixMs)
    {
        var isNew = Of(topic).Rows.Add(new DelayedRow(offset, dueUnixMs))
            && _byTime.Add(new DueRow(dueUnixMs, topic, offset));
        Invariant.Check(isNew, "a record is delayed once");
    }

    /// <summary>When it is due; null: it is not delayed, or not any more.</summary>
    public long? TimeOf(int topic, long offset) =>
        Find(topic)?.Rows.TryGetValue(new DelayedRow(offset, 0), out var row) == true ? row.DueUnixMs : null;

    /// <summary>Rows of a topic from an offset on, by offset, up to a number.</summary>
    public List<DelayedRow> List(int topic, long fromOffset, int most) => Find(topic)?.Rows is { Count: > 0 } rows
        ? [.. rows.GetViewBetween(new DelayedRow(fromOffset, 0), new DelayedRow(long.MaxValue, 0)).Take(most)]
        : [];

    public bool Remove(int topic, long offset)
    {
        if (TimeOf(topic, offset) is not { } dueUnixMs)
        {
            return false;
        }

        _topics[topic].Rows.Remove(new DelayedRow(offset, 0));
        _byTime.Remove(new DueRow(dueUnixMs, topic, offset));
        return true;
    }

    /// <summary>The topic keeps nothing before an offset.</summary>
    public void RemoveBefore(int topic, long offset)
    {
        while (Find(topic)?.Rows is { Count: > 0 } rows && rows.Min.Offset < offset)
        {
            Remove(topic, rows.Min.Offset);
        }
    }

    /// <summary>The topic is gone.</summary>
    public void RemoveTopic(int topic)
    {
        RemoveBefore(topic, long.MaxValue);
        _topics.Remove(topic);
    }

    /// <summary>
    /// <code>
    /// varint topics | for each, by number: varint number | varint 1 + the number of its topic of what is due, 0: none
    ///   | varint end of what a purge gives up there | varint first offset of the topic that it waits for
    ///   | varint rows | for each, by offset: varint offset, less the one behind the row before | varint time
    /// </code>
    /// Topic 3 has nothing due yet, and its records 7 and 9 are due at 1,000 and 130:
    /// <code>
    /// 01 | 03 | 00 | 00 | 00 | 02 | 07 E8 07 | 01 82 01
    /// </code>
    /// </summary>
    public void Write(ref SnapshotWriter writer)
    {
        writer.PutVarint(_topics.Count);
        foreach (var (number, delays) in _topics)
        {
            writer.PutVarint(number);
            writer.PutVarint(delays.DueTopic + 1L);
            writer.PutVarint(delays.GivenUpTo);
            writer.PutVarint(delays.WhenFirstIs);
            writer.PutVarint(delays.Rows.Count);
            var next = 0L;
            foreach (var row in delays.Rows)
            {
                writer.PutVarint(row.Offset - next);
                writer.PutVarint(row.DueUnixMs);
                next = row.Offset + 1;
            }
        }
    }

    /// <exception cref="InvalidDataException">It is malformed.</exception>
    public static DelayTable Read(ref SnapshotReader reader, int bound)
    {
        const int LeastTopicBytes = 5;
        const int LeastRowBytes = 2;
        var table = new DelayTable();
        var before = -1;
        for (var topics = reader.TakeCount(int.MaxValue, LeastTopicBytes); topics > 0; topics--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(number > before, "topics with delays stand in the order of their numbers");
            before = number;
            var delays = table.Of(number);
            delays.DueTopic = (int)(reader.TakeVarint(int.MaxValue) - 1);
            delays.GivenUpTo = reader.TakeVarint(long.MaxValue);
            delays.WhenFirstIs = reader.TakeVarint(long.MaxValue);
            var next = 0L;
            for (var rows = reader.TakeCount(bound - table.Count, LeastRowBytes); rows > 0; rows--)
            {
                var offset = next + reader.TakeVarint(long.MaxValue - 1 - next);
                table.Add(number, offset, reader.TakeVarint(long.MaxValue));
                next = offset + 1;
            }
        }

        return table;
    }
}

/// <summary>What of a topic is delayed.</summary>
internal sealed class TopicDelays
{
    /// <summary>By offset.</summary>
    public SortedSet<DelayedRow> Rows { get; } = new(DelayedRow.ByOffset);

    /// <summary>The number of the topic in which what became due stands; -1: nothing did yet.</summary>
    public int DueTopic { get; set; } = -1;

    /// <summary>
    /// What stands there before this offset refers to nothing any more, as soon as the topic's first offset is <see
    /// cref="WhenFirstIs"/>: all of it was stored before then. So what became due is kept about as long as what it
    /// refers to, whatever the topic keeps; 0: nothing is waited for.
    /// </summary>
    public long GivenUpTo { get; set; }

    public long WhenFirstIs { get; set; }
}

/// <param name="Offset">Of the record in its topic.</param>
/// <param name="DueUnixMs">When groups may have it.</param>
internal readonly record struct DelayedRow(long Offset, long DueUnixMs)
{
    public static readonly IComparer<DelayedRow> ByOffset =
        Comparer<DelayedRow>.Create(static (one, other) => one.Offset.CompareTo(other.Offset));
}

/// <param name="DueUnixMs">When groups may have it.</param>
/// <param name="Topic">The topic's number.</param>
/// <param name="Offset">Of the record there.</param>
internal readonly record struct DueRow(long DueUnixMs, int Topic, long Offset) : IComparable<DueRow>
{
    public int CompareTo(DueRow other) =>
        (DueUnixMs, Topic, Offset).CompareTo((other.DueUnixMs, other.Topic, other.Offset));
}
