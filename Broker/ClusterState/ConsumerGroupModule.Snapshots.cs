using System.Collections.Immutable;
using Broker.Domain;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The consumer groups' section of a snapshot: the whole state.
/// <code>
/// varint next number | varint groups
/// for each, by number: varint number | text name | u8 start | varint time of the start in ms
///     | u8 mode | varint ack wait in ms | varint most deliveries | varint most outstanding
///     | u8 1: keeps dead letters, 2: paused, and 4 times the order
///     | varint filters | text, for each | varint waits | varint ms, for each
/// </code>
/// Group 1, "g", begins at the end (2), is shared (1), follows "a", waits 100 ms, delivers 2 times and has 3 out:
/// <code>
/// 02 | 01 | 01 | 01 67 | 02 | 00 | 01 | 64 | 02 | 03 | 01 | 01 | 01 61 | 00
/// </code>
/// </summary>
public sealed partial class ConsumerGroupModule
{
    private const byte FirstFormat = 1;
    private const int LeastGroupBytes = 14;

    internal override void Write(ref SnapshotWriter writer)
    {
        writer.PutVarint(Current.NextNumber);
        writer.PutVarint(Current.ByNumber.Count);
        foreach (var group in Current.ByNumber.Values)
        {
            var settings = group.Settings;
            writer.PutVarint(group.Number);
            writer.PutText(group.Name);
            writer.PutByte((byte)group.Start.Kind);
            writer.PutVarint(group.Start.TimeUnixMs);
            writer.PutByte((byte)settings.Mode);
            writer.PutVarint(settings.AckWaitMs);
            writer.PutVarint(settings.MaxDeliveries);
            writer.PutVarint(settings.MaxOutstanding);
            writer.PutByte(settings.Flags);
            writer.PutVarint(settings.Filters.Length);
            foreach (var filter in settings.Filters)
            {
                writer.PutText(filter);
            }

            writer.PutVarint(settings.BackOffMs.Length);
            foreach (var wait in settings.BackOffMs)
            {
                writer.PutVarint(wait);
            }
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(format == FirstFormat, "the section of consumer groups has a format that is known");
        var next = (int)reader.TakeVarint(int.MaxValue);
        var groups = ConsumerGroups.Empty with { NextNumber = next };
        var before = 0;
        for (var left = reader.TakeCount(Limits.ConsumerGroups, LeastGroupBytes); left > 0; left--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(number > before && number < next, "groups stand in rising order, below the next number");
            before = number;
            var group = ReadGroup(ref reader, number);
            reader.Check(groups.Find(group.Name) is null, "a group's name is its own");
            groups = groups.With(group);
        }

        reader.Check(next > 0, "the first number is 1");
        return () => Show(groups);
    }

    private static ConsumerGroup ReadGroup(ref SnapshotReader reader, int number)
    {
        var name = reader.TakeText(Limits.GroupNameBytes);
        var start = new GroupStart((GroupStartKind)reader.TakeByte(), reader.TakeVarint(long.MaxValue));
        var mode = (ConsumerGroupMode)reader.TakeByte();
        var ackWaitMs = reader.TakeVarint(long.MaxValue);
        var deliveries = (int)reader.TakeVarint(int.MaxValue);
        var outstanding = (int)reader.TakeVarint(int.MaxValue);
        var flags = reader.TakeByte();
        var filters = new string[reader.TakeCount(Limits.FiltersPerGroup, 2)];
        for (var i = 0; i < filters.Length; i++)
        {
            filters[i] = reader.TakeText(Limits.TopicNameBytes);
        }

        var waits = new long[reader.TakeCount(Limits.GroupBackOffs, 1)];
        for (var i = 0; i < waits.Length; i++)
        {
            waits[i] = reader.TakeVarint(long.MaxValue);
        }

        var settings = new ConsumerGroupSettings
        {
            Filters = ImmutableArray.Create(filters),
            Mode = mode,
            AckWaitMs = ackWaitMs,
            MaxDeliveries = deliveries,
            BackOffMs = ImmutableArray.Create(waits),
            MaxOutstanding = outstanding,
            Flags = flags,
        };
        reader.Check(IsStart(start) && IsValid(settings), "a group is a valid one");
        return new ConsumerGroup(number, name, settings, start);
    }
}
