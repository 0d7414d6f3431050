using Broker.Domain;
using Broker.Groups;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupProgressTests
{
    private readonly GroupMachine _shard = new();

    public GroupProgressTests()
    {
        _shard.Publish("a", 10);
        _shard.Publish("b", 10);
    }

    [Fact]
    public void The_documented_examples_are_written()
    {
        Assert.Equal(
            "16000000" + "37" + "02000000" + "01000000" + "00000000" + "0100" + "0502" + "0100" + "080300",
            Convert.ToHexString(Entries.Metadata(static into => GroupCommands.WriteSettle(
                into, new SettleCommand(2, 1, 0, [new OffsetRange(5, 7)], [new DeliveryCount(8, new Tried(3))])))));

        var shard = new GroupMachine();
        shard.Open(2);
        shard.Publish("a", 9);
        shard.Publish("b", 9);
        shard.Settle(2, 1, 0, new OffsetRange(0, 5), new OffsetRange(6, 8));
        shard.Count(2, 1, 0, new DeliveryCount(5, new Tried(2)));
        Assert.EndsWith(
            "0301" + "01" + "02" + "00" + "00" + "01" + "01" + "00" + "00" + "05" + "01" + "0102" + "01" + "00020000",
            Convert.ToHexString(shard.Snapshot),
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_group_begins_where_it_was_said_and_later_topics_at_their_beginning()
    {
        Assert.Equal(RefusalCode.NotFound, _shard.Settle(1, 0, 0, new OffsetRange(0, 1)).Code);
        Assert.Equal(RefusalCode.None, _shard.Open(1, new TopicStart(1, 10)).Code);
        Assert.True(_shard.Open(1).Duplicate);
        Assert.Equal(10, _shard.Of(1, 1).Settled.Floor);
        _shard.Publish("c", 5);
        Assert.Equal(1, _shard.Settle(1, 2, 0, new OffsetRange(0, 1)).BaseOffset);
        Assert.Equal(0, _shard.Settle(1, 0, 0, new OffsetRange(3, 5)).BaseOffset);
    }

    [Fact]
    public void A_group_is_open_when_all_topics_that_were_there_were_told()
    {
        _shard.Apply(static into => GroupCommands.WriteOpen(into, new OpenGroupCommand(1, 0, 1, 2, [])));
        Assert.False(_shard.Progress.Groups[1].IsOpen);
        Assert.Equal(RefusalCode.NotFound, _shard.Settle(1, 0, 0, new OffsetRange(0, 1)).Code);
        _shard.Apply(static into => GroupCommands.WriteOpen(
            into, new OpenGroupCommand(1, 1, 2, 2, [new TopicStart(1, 7)])));
        Assert.True(_shard.Progress.Groups[1].IsOpen);
        Assert.Equal(7, _shard.Of(1, 1).Settled.Floor);
    }

    [Fact]
    public void The_floor_rises_when_the_first_hole_is_closed()
    {
        _shard.Open(1);
        Assert.Equal(0, _shard.Settle(1, 0, 0, new OffsetRange(1, 3), new OffsetRange(5, 7)).BaseOffset);
        Assert.Equal(3, _shard.Settle(1, 0, 0, new OffsetRange(0, 1)).BaseOffset);
        var last = _shard.Settle(1, 0, 0, new OffsetRange(2, 6));
        Assert.Equal((7, 2), (last.BaseOffset, last.Count));
        Assert.Empty(_shard.Of(1, 0).Settled.Ranges);
    }

    [Fact]
    public void A_count_never_falls_and_goes_with_its_record()
    {
        _shard.Open(1);
        _shard.Count(1, 0, 0, new DeliveryCount(4, new Tried(2, 500)), new DeliveryCount(5, new Tried(1)));
        _shard.Count(1, 0, 0, new DeliveryCount(4, new Tried(1, 900)));
        var kept = _shard.Of(1, 0).Deliveries[4];
        Assert.Equal((2, 500), (kept.Count, kept.WaitMs));
        Assert.True(kept.SinceUnixMs > 0);
        _shard.Settle(1, 0, 0, new OffsetRange(4, 5));
        _shard.Count(1, 0, 0, new DeliveryCount(4, new Tried(3)));
        Assert.Equal([5L], _shard.Of(1, 0).Deliveries.Keys);
    }

    [Fact]
    public void A_seek_voids_what_was_delivered_before()
    {
        _shard.Open(1);
        _shard.Settle(1, 0, 0, new OffsetRange(0, 4), new OffsetRange(6, 8));
        _shard.Count(1, 0, 0, new DeliveryCount(5, new Tried(1)));
        Assert.Equal(RefusalCode.None, _shard.Apply(static into => GroupCommands.WriteSeek(into, 1, 0, 2)).Code);
        Assert.Equal((2, 1), (_shard.Of(1, 0).Settled.Floor, _shard.Of(1, 0).Turn));
        Assert.Empty(_shard.Of(1, 0).Deliveries);
        Assert.Equal(RefusalCode.FailedPrecondition, _shard.Settle(1, 0, 0, new OffsetRange(2, 3)).Code);
        Assert.Equal(3, _shard.Settle(1, 0, 1, new OffsetRange(2, 3)).BaseOffset);
        var beyond = _shard.Apply(static into => GroupCommands.WriteSeek(into, 1, 0, 11));
        Assert.Equal((RefusalCode.OutOfRange, 10), (beyond.Code, beyond.BaseOffset));

        // Of a topic of which nothing was remembered, too.
        _shard.Apply(static into => GroupCommands.WriteSeek(into, 1, 1, 0));
        Assert.Equal(RefusalCode.FailedPrecondition, _shard.Settle(1, 1, 0, new OffsetRange(0, 1)).Code);
    }

    [Fact]
    public void A_record_dies_once_and_its_copy_can_be_read()
    {
        _shard.Open(1);
        Assert.Equal(RefusalCode.NotFound, _shard.Bury(1, 0, 0, 3, deadLetters: 9).Code);
        Assert.Null(_shard.Progress.Groups[1].Find(0));
        _shard.Apply(static into => TopicCommands.WriteCreateTopic(into, "$dlq.g", TopicSettings.Default));
        Assert.Equal(1, _shard.Bury(1, 0, 0, 3, deadLetters: 2).Count);
        Assert.True(_shard.Bury(1, 0, 0, 3, deadLetters: 2).Duplicate);
        Assert.True(_shard.Of(1, 0).Settled.Contains(3));
        Assert.Equal(1, _shard.Of(1, 0).Dead);
        Assert.True(_shard.Machine.TryGetTopic("$dlq.g", out var dead));
        Assert.Equal(1, dead.NextOffset);
        var located = new List<BatchLocation>();
        Assert.True(dead.TryLocate(0, 1, 100, located, out _));
        Assert.Equal(2, Assert.Single(located).Length);
    }

    [Fact]
    public void Too_many_holes_are_refused_and_what_closes_one_is_not()
    {
        var shard = new GroupMachine(new GroupBounds { RangesPerTopic = 2 });
        shard.Publish("a", 10);
        shard.Open(1);
        shard.Settle(1, 0, 0, new OffsetRange(1, 2), new OffsetRange(3, 4));
        Assert.Equal(RefusalCode.ResourceExhausted, shard.Settle(1, 0, 0, new OffsetRange(5, 6)).Code);
        Assert.False(shard.Of(1, 0).Settled.Contains(5));
        Assert.Equal(4, shard.Settle(1, 0, 0, new OffsetRange(2, 3), new OffsetRange(0, 1)).BaseOffset);
        Assert.Equal(RefusalCode.None, shard.Settle(1, 0, 0, new OffsetRange(5, 6)).Code);
    }

    [Fact]
    public void The_shard_holds_so_many_ranges_and_counts_over_all()
    {
        var shard = new GroupMachine(new GroupBounds { Size = 3 });
        shard.Publish("a", 10);
        shard.Publish("b", 10);
        shard.Open(1);
        shard.Settle(1, 0, 0, new OffsetRange(1, 2), new OffsetRange(3, 4));
        shard.Settle(1, 1, 0, new OffsetRange(1, 2));
        Assert.Equal(RefusalCode.ResourceExhausted, shard.Settle(1, 1, 0, new OffsetRange(3, 4)).Code);
        shard.Count(1, 1, 0, new DeliveryCount(0, new Tried(1)));
        Assert.Empty(shard.Of(1, 1).Deliveries);
        shard.Apply(static into => GroupCommands.WriteClose(into, 1));
        shard.Open(2);
        Assert.Equal(RefusalCode.None, shard.Settle(2, 1, 0, new OffsetRange(3, 4)).Code);
    }

    [Fact]
    public void What_is_remembered_of_a_deleted_topic_is_forgotten()
    {
        _shard.Open(1);
        _shard.Settle(1, 0, 0, new OffsetRange(3, 4));
        _shard.Settle(1, 1, 0, new OffsetRange(3, 4));
        Assert.False(_shard.TryDuty(out _));
        _shard.Apply(static into => TopicCommands.WriteDeleteTopic(into, "a"));
        _shard.Publish("a", 1);
        Assert.Equal(RefusalCode.NotFound, _shard.Settle(1, 0, 0, new OffsetRange(0, 1)).Code);

        // Each look says so until it is done: what was proposed may have come to nothing.
        Assert.True(_shard.TryDuty(out _));
        Assert.False(_shard.TryDuty(out _));
        Assert.True(_shard.TryDuty(out var forget));
        Assert.False(_shard.TryDuty(out _));
        Assert.Equal(1, _shard.Apply(_shard.Entry(forget)).Count);
        Assert.Equal([1], _shard.Progress.Groups[1].Progress.Keys);
        Assert.False(_shard.TryDuty(out _));
        Assert.Equal(0, _shard.Apply(static into => GroupCommands.WriteForget(into, [1, 2])).Count);
    }
}
