using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupOrderTests
{
    private static readonly ConsumerGroupSettings Shared = new()
    {
        Filters = [">"],
        AckWaitMs = 1_000,
        MaxDeliveries = 3,
        MaxOutstanding = 100_000,
    };

    private static readonly ConsumerGroupSettings KeyOrdered = Shared with { Mode = ConsumerGroupMode.KeyOrdered };

    private long _now = 10_000;
    private long _request;

    [Fact]
    public void Records_of_one_key_go_one_at_a_time_and_do_not_hold_up_the_others()
    {
        var group = Begin(KeyOrdered, 1, 2, 1, 0, 1, 0);
        Assert.Equal([0, 1], Offsets(Give(group)));
        Assert.Equal([3], Offsets(Give(group)));
        Assert.Equal([5], Offsets(Give(group)));
        Assert.False(group.TryGive(_now, out _));
    }

    [Fact]
    public void The_next_of_a_key_goes_when_the_one_before_is_committed_and_not_when_it_came_back()
    {
        var group = Begin(KeyOrdered, 1, 1);
        var token = Give(group).Token;
        Settle(group, SettleKind.Nack, token, delayMs: 50);
        Assert.False(group.TryGive(_now, out _));
        _now += 50;
        token = Give(group).Token;
        Assert.Equal((0, 2), (token.Range.First, token.Attempt));
        Settle(group, SettleKind.Ack, token);
        Assert.False(group.TryGive(_now, out _));
        Assert.True(group.Settling.TryTakeCommand(_now, 7, out var command));
        group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal([OffsetRange.One(0)], command.Ranges);
        Assert.Equal([1], Offsets(Give(group)));
    }

    [Fact]
    public void A_dead_letter_lets_its_key_go_on()
    {
        var group = Begin(KeyOrdered, 1, 1);
        Settle(group, SettleKind.Terminate, Give(group).Token);
        Assert.False(group.TryGive(_now, out _));
        Assert.True(group.Dying.TryTake(_now, out var dying));
        group.Dying.OnBuried(0, dying.Turn, dying.Offset, RefusalCode.None, _now);
        Assert.Equal([1], Offsets(Give(group)));
    }

    [Fact]
    public void One_key_with_much_waiting_does_not_keep_the_others_waiting()
    {
        // Nearly all records are of one key, and each of the others has one of its own between them.
        var keys = Enumerable.Range(0, 50_000).Select(static i => i % 50 == 49 ? 2 + (ulong)i : 1UL).ToArray();
        foreach (var settings in new[] { KeyOrdered, Shared with { Order = ConsumerGroupOrder.Fair } })
        {
            var group = Begin(settings, keys);
            var others = new HashSet<long>();
            var busy = 0;
            while (others.Count < 1_000)
            {
                foreach (var offset in Offsets(Give(group)))
                {
                    busy += keys[offset] == 1 ? 1 : 0;
                    _ = keys[offset] == 1 || others.Add(offset);
                }
            }

            Assert.InRange(busy, 1, 20_000);
        }
    }

    [Fact]
    public void Higher_priorities_go_first_and_keep_the_order_of_offsets()
    {
        var group = new GroupDispatcher(new Term(1), Shared with { Order = ConsumerGroupOrder.Priority });
        group.Follow(0, null, 5, _now);
        group.AddConsumer(1);
        group.AddCredit(1, 100, 1_000_000);
        Assert.True(group.TryWantKeys(out _, out var wanted));
        Assert.Equal(new OffsetRange(0, 5), wanted);
        group.AddKeys(0, 0, [new(0, 0), new(0, 9), new(0, 3), new(0, 9), new(0, 0)]);
        Assert.Equal([1], Offsets(Give(group)));
        Assert.Equal([3], Offsets(Give(group)));
        Assert.Equal([2], Offsets(Give(group)));
        Assert.Equal([0], Offsets(Give(group)));
        Assert.Equal([4], Offsets(Give(group)));
    }

    [Fact]
    public void What_comes_back_goes_before_what_is_new_of_a_lower_priority_and_behind_what_is_higher()
    {
        var group = new GroupDispatcher(new Term(1), Shared with { Order = ConsumerGroupOrder.Priority });
        group.Follow(0, null, 4, _now);
        group.AddConsumer(1);
        group.AddCredit(1, 100, 1_000_000);
        group.AddKeys(0, 0, [new(0, 0), new(0, 5), new(0, 0), new(0, 9)]);
        var highest = Give(group).Token;
        var middle = Give(group).Token;
        Assert.Equal((3, 1), (highest.Range.First, middle.Range.First));
        Settle(group, SettleKind.Nack, middle, delayMs: 0);
        Settle(group, SettleKind.Nack, highest, delayMs: 20);
        middle = Give(group).Token;
        Assert.Equal((1, 2), (middle.Range.First, middle.Attempt));
        Settle(group, SettleKind.Nack, middle, delayMs: 20);
        Assert.Equal([0], Offsets(Give(group)));
        _now += 20;
        Assert.Equal([3], Offsets(Give(group)));
        Assert.Equal([1], Offsets(Give(group)));
        Assert.Equal([2], Offsets(Give(group)));
    }

    [Fact]
    public void The_next_leader_looks_up_the_priority_of_what_an_earlier_one_has_counted()
    {
        var machine = new GroupMachine();
        machine.Publish("t", 3);
        machine.Open(1);
        machine.Count(1, 0, 0, new DeliveryCount(2, new Tried(1)));
        var group = new GroupDispatcher(new Term(2), Shared with { Order = ConsumerGroupOrder.Priority });
        group.Follow(0, machine.Of(1, 0), 3, _now);
        group.AddConsumer(1);
        group.AddCredit(1, 100, 1_000_000);
        Assert.True(group.TryWantKeys(out _, out var wanted));
        Assert.Equal(new OffsetRange(0, 3), wanted);
        group.AddKeys(0, 0, [new(0, 1), new(0, 2), new(0, 7)]);
        Assert.Equal([2], Offsets(Give(group)));
        Assert.Equal([1], Offsets(Give(group)));
        Assert.Equal([0], Offsets(Give(group)));
    }

    [Fact]
    public void Who_opens_hears_once_that_there_is_nothing_more()
    {
        var group = new GroupDispatcher(new Term(1), Shared);
        var named = new List<int>();
        group.Follow(0, null, 3, _now);
        group.AddConsumer(1);

        // There is something, and one without credit: it may get some.
        group.TakeQuiet(_now, named);
        Assert.Empty(named);
        group.AddCredit(1, 100, 1_000_000);
        Assert.Equal([0, 1, 2], Offsets(Give(group)));
        Assert.False(group.TryGive(_now, out _));
        group.TakeQuiet(_now, named);
        Assert.Equal([1], named);
        group.AddConsumer(2);
        group.TakeQuiet(_now, named);
        Assert.Equal([1, 2], named);
        group.TakeQuiet(_now, named);
        Assert.Equal(2, named.Count);
    }

    [Fact]
    public void Who_stands_by_in_an_exclusive_group_hears_that_there_is_nothing_for_it()
    {
        var group = new GroupDispatcher(new Term(1), Shared with { Mode = ConsumerGroupMode.Exclusive });
        var named = new List<int>();
        group.Follow(0, null, 3, _now);
        group.AddConsumer(1, new ConsumerRank(1, 1, 1));
        group.AddConsumer(2, new ConsumerRank(2, 1, 2));
        group.TakeQuiet(_now, named);
        Assert.Equal([2], named);
    }

    [Fact]
    public void Of_an_exclusive_group_the_first_one_gets_everything_and_the_next_one_takes_over()
    {
        var group = new GroupDispatcher(new Term(1), Shared with { Mode = ConsumerGroupMode.Exclusive });
        group.Follow(0, null, 10, _now);
        group.AddConsumer(1, new ConsumerRank(20, 1, 1));
        group.AddConsumer(2, new ConsumerRank(10, 3, 7));
        Assert.Equal((false, true, false), (group.IsServed(1), group.IsServed(2), group.IsServed(3)));
        group.AddCredit(1, 100, 1_000_000);
        Assert.False(group.TryGive(_now, out _));
        group.AddCredit(2, 4, 1_000_000);
        var given = Give(group);
        Assert.Equal((2, new OffsetRange(0, 4)), (given.Consumer, given.Token.Range));
        Assert.False(group.TryGive(_now, out _));

        // What the one before has out may be settled still: the next one begins behind it.
        group.RemoveConsumer(2);
        Assert.Equal((true, false), (group.IsServed(1), group.IsServed(2)));
        Assert.False(group.TryGive(_now, out _));
        Settle(group, SettleKind.Ack, given.Token with { Range = new OffsetRange(0, 3) });
        Assert.False(group.TryGive(_now, out _));
        _now += 1_000;
        group.PassTime(_now);
        given = Give(group);
        Assert.Equal((1, new OffsetRange(3, 4), 2), (given.Consumer, given.Token.Range, given.Token.Attempt));
        given = Give(group);
        Assert.Equal((1, new OffsetRange(4, 10)), (given.Consumer, given.Token.Range));
    }

    [Fact]
    public void Other_settings_hold_for_what_waits()
    {
        var group = Begin(Shared, 1, 1, 1, 2);
        group.Settings = Shared with { Order = ConsumerGroupOrder.Fair };
        LookUp(group, 1, 1, 1, 2);
        group.Settings = Shared;
        Assert.Equal([0, 1, 2, 3], Offsets(Give(group)));
    }

    [Fact]
    public void What_a_leader_before_has_counted_is_given_before_what_is_new_of_its_key()
    {
        var machine = new GroupMachine();
        machine.Publish("t", 4);
        machine.Open(1);
        machine.Count(1, 0, 0, new DeliveryCount(1, new Tried(1)));
        var progress = machine.Of(1, 0);
        var group = new GroupDispatcher(new Term(2), KeyOrdered);
        group.Follow(0, progress, 4, _now);
        group.AddConsumer(1);
        group.AddCredit(1, 100, 1_000_000);
        Assert.False(group.TryGive(_now, out _));
        LookUp(group, 2, 1, 1, 2);
        var given = new[] { Give(group), Give(group) };
        Assert.Equal([0, 1], given.SelectMany(Offsets).Order());
        Assert.False(group.TryGive(_now, out _));
    }

    private static long[] Offsets(GivenRecords given) =>
        [.. Enumerable.Range(0, (int)given.Token.Range.Count).Select(i => given.Token.Range.First + i)];

    private GroupDispatcher Begin(ConsumerGroupSettings settings, params ulong[] keys)
    {
        var group = new GroupDispatcher(new Term(1), settings);
        group.Follow(0, null, keys.Length, _now);
        group.AddConsumer(1);
        group.AddCredit(1, 100_000, 1_000_000);
        LookUp(group, keys);
        return group;
    }

    private static void LookUp(GroupDispatcher group, params ulong[] keys)
    {
        while (group.TryWantKeys(out var topic, out var range))
        {
            var part = keys[(int)range.First..(int)range.End];
            group.AddKeys(topic, range.First, part.Select(static key => new RecordKey(key, 0)).ToArray());
        }
    }

    private GivenRecords Give(GroupDispatcher group)
    {
        Assert.True(group.TryGive(_now, out var given));
        return given;
    }

    private void Settle(GroupDispatcher group, SettleKind kind, DeliveryToken token, long? delayMs = null) =>
        group.Settling.Settle(new SettleRequest(++_request, kind, token, delayMs, null), _now);
}
