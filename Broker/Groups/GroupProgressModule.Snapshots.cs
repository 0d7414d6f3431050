using Broker.Domain;
using Broker.State;

namespace Broker.Groups;

/// <summary>
/// The section of a snapshot that says how far groups are: the whole state.
/// <code>
/// varint groups | for each, by number: varint number | varint before | varint opened to | varint topics
/// for each topic, by number: varint number | varint turn | varint dead letters | varint floor
///     | varint ranges | for each: varint offsets that are not settled before it, varint offsets that are
///     | varint counts | for each: varint offset less the one before (of the first: less the floor), varint deliveries,
///                       varint ms to wait for the next one, varint the log's time when that began
/// </code>
/// Group 2, which met an empty shard, has settled 0 to 4, 6 and 7 of topic 1, and was delivered 5 twice in vain:
/// <code>
/// 01 | 02 | 00 | 00 | 01 | 01 | 00 | 00 | 05 | 01 | 01 02 | 01 | 00 02 00 00
/// </code>
/// </summary>
internal sealed partial class GroupProgressModule
{
    private const byte FirstFormat = 1;
    private const int LeastGroupBytes = 4;
    private const int LeastTopicBytes = 6;

    internal override void Write(ref SnapshotWriter writer)
    {
        writer.PutVarint(_groups.Count);
        foreach (var group in _groups.Values)
        {
            writer.PutVarint(group.Number);
            writer.PutVarint(group.Before);
            writer.PutVarint(group.OpenedTo);
            writer.PutVarint(group.Progress.Count);
            foreach (var progress in group.Progress.Values)
            {
                Write(ref writer, progress);
            }
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(format == FirstFormat, "the section of groups' progress has a format that is known");
        var groups = new SortedDictionary<int, GroupHere>();
        var before = -1;
        for (var left = reader.TakeCount(bounds.Groups, LeastGroupBytes); left > 0; left--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(number > before, "groups stand in rising order");
            before = number;
            groups.Add(number, ReadGroup(ref reader, number));
        }

        return () => Put(groups);
    }

    internal override void Clear() => Put([]);

    internal override void EndRestore() => Changed?.Invoke(-1, -1);

    private static void Write(ref SnapshotWriter writer, GroupProgress progress)
    {
        writer.PutVarint(progress.Topic);
        writer.PutVarint(progress.Turn);
        writer.PutVarint(progress.Dead);
        writer.PutVarint(progress.Settled.Floor);
        writer.PutVarint(progress.Settled.Ranges.Count);
        var at = progress.Settled.Floor;
        foreach (var range in progress.Settled.Ranges)
        {
            writer.PutVarint(range.First - at);
            writer.PutVarint(range.Count);
            at = range.End;
        }

        writer.PutVarint(progress.Deliveries.Count);
        at = progress.Settled.Floor;
        foreach (var (offset, tried) in progress.Deliveries)
        {
            writer.PutVarint(offset - at);
            writer.PutVarint(tried.Count);
            writer.PutVarint(tried.WaitMs);
            writer.PutVarint(tried.SinceUnixMs);
            at = offset;
        }
    }

    private GroupHere ReadGroup(ref SnapshotReader reader, int number)
    {
        var group = new GroupHere(number, (int)reader.TakeVarint(int.MaxValue));
        group.OpenedTo = (int)reader.TakeVarint(group.Before);
        var before = -1;
        for (var left = reader.TakeCount(int.MaxValue, LeastTopicBytes); left > 0; left--)
        {
            var topic = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(topic > before, "a group's topics stand in rising order");
            before = topic;
            group.Add(ReadProgress(ref reader, topic));
        }

        return group;
    }

    private GroupProgress ReadProgress(ref SnapshotReader reader, int topic)
    {
        var turn = (int)reader.TakeVarint(int.MaxValue);
        var dead = reader.TakeVarint(long.MaxValue);
        var progress = new GroupProgress(topic, reader.TakeVarint(long.MaxValue), turn) { Dead = dead };
        var at = progress.Settled.Floor;
        for (var left = reader.TakeCount(bounds.RangesPerTopic, 2); left > 0; left--)
        {
            var first = TakeAfter(ref reader, at);
            reader.Check(first > at, "settled ranges do not touch");
            at = TakeAfter(ref reader, first);
            reader.Check(at > first, "a settled range is not empty");
            progress.Settle(new OffsetRange(first, at));
        }

        at = progress.Settled.Floor;
        for (var left = reader.TakeCount(int.MaxValue, 4); left > 0; left--)
        {
            var offset = TakeAfter(ref reader, at);
            var tried = new Tried(
                (int)reader.TakeVarint(int.MaxValue),
                reader.TakeVarint(Limits.GroupWaitMostMs),
                reader.TakeVarint(long.MaxValue - Limits.GroupWaitMostMs));
            reader.Check(
                !progress.Settled.Contains(offset) && !progress.Deliveries.ContainsKey(offset),
                "what is counted is not settled, and counted once");
            progress.NoteDeliveries(offset, tried);
            at = offset;
        }

        return progress;
    }

    private static long TakeAfter(ref SnapshotReader reader, long offset) =>
        offset + reader.TakeVarint(long.MaxValue - offset);

    private void Put(SortedDictionary<int, GroupHere> groups)
    {
        _groups = groups;
        Volatile.Write(
            ref _open, [.. groups.Values.Where(static each => each.IsOpen).Select(static each => each.Number)]);
        _size = groups.Values.Sum(static group => group.Progress.Values.Sum(static each => each.Size));
        _calmAt = -1;
    }
}
