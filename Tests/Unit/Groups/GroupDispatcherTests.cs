using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupDispatcherTests
{
    private static readonly ConsumerGroupSettings Settings = new()
    {
        Filters = [">"],
        AckWaitMs = 1_000,
        MaxDeliveries = 3,
        MaxOutstanding = 100,
    };

    private readonly GroupDispatcher _group = new(new Term(5), Settings);
    private long _now = 10_000;
    private long _request;

    public GroupDispatcherTests()
    {
        _group.Follow(0, null, 10, _now);
        _group.AddConsumer(1);
        _group.AddCredit(1, 1_000, 1_000_000);
    }

    [Fact]
    public void Nothing_is_given_without_credit_and_credit_comes_back_only_from_the_consumer()
    {
        _group.Follow(1, null, 0, _now);
        _group.AddConsumer(2);
        var group = new GroupDispatcher(new Term(1), Settings);
        group.Follow(0, null, 10, _now);
        group.AddConsumer(1);
        Assert.False(group.TryGive(_now, out _));
        group.AddCredit(1, 3, 0);
        Assert.False(group.TryGive(_now, out _));
        group.AddCredit(1, 0, 1);
        Assert.True(group.TryGive(_now, out var given));
        Assert.Equal(new OffsetRange(0, 3), given.Token.Range);
        Assert.False(group.TryGive(_now, out _));

        // The last record may take the bytes below zero; then they must come back first.
        group.AddCredit(1, 5, 0);
        group.Charge(1, 100);
        Assert.False(group.TryGive(_now, out _));
        group.AddCredit(1, 0, 100);
        Assert.True(group.TryGive(_now, out given));
        Assert.Equal(new OffsetRange(3, 8), given.Token.Range);
    }

    [Fact]
    public void A_dead_letter_that_was_taken_is_passed_over_and_no_other_goes_for_it()
    {
        _group.Follow(1, null, 4, _now, isOfTheDead: true);
        Assert.Equal(1, _group.Dying.TakeDead(++_request, 1, offset: 1, isPurge: true, _now));
        Assert.Equal(0, _group.Dying.TakeDead(++_request, 1, offset: 1, isPurge: true, _now));
        Assert.Equal(0, _group.Dying.TakeDead(++_request, 1, offset: 4, isPurge: true, _now));
        Assert.Equal(3, _group.Dying.CountDead(1, null, 4));
        Assert.Equal(2, _group.Dying.CountDead(1, null, 3));
        Assert.Equal(0, _group.Dying.CountDead(1, offset: 1, 4));
        Assert.Equal(3, _group.Dying.TakeDead(++_request, 1, offset: null, isPurge: false, _now));
    }

    [Fact]
    public void A_dead_letter_given_by_a_leader_before_is_settled_by_its_token_though_its_way_back_was_not_committed()
    {
        _group.Follow(1, null, 4, _now, isOfTheDead: true);
        _group.Dying.TakeDead(++_request, 1, offset: 2, isPurge: false, _now);
        GivenRecords given;
        do
        {
            given = Give();
        }
        while (given.Token.Topic != 1);

        var next = new GroupDispatcher(new Term(6), Settings);
        next.Follow(1, null, 4, _now, isOfTheDead: true);
        next.Settling.Settle(new SettleRequest(7, SettleKind.Ack, given.Token, null, null), _now);
        Assert.Empty(next.Settling.TakeAnswers());
        Assert.True(next.Settling.TryTakeCommand(_now, 7, out var command));
        Assert.Equal([OffsetRange.One(2)], command.Ranges);
        next.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal(0, Assert.Single(next.Settling.TakeAnswers()).Lost);

        // Who has no token that holds has no right to it.
        var other = given.Token with { Range = OffsetRange.One(1), Term = 6 };
        next.Settling.Settle(new SettleRequest(8, SettleKind.Ack, other, null, null), _now);
        Assert.Equal(1, Assert.Single(next.Settling.TakeAnswers()).Lost);
    }

    [Fact]
    public void An_ack_is_answered_when_it_is_committed_and_others_go_with_the_next_command()
    {
        var token = Give().Token;
        var first = Ask(SettleKind.Ack, Part(token, 0, 2));
        Assert.True(_group.Settling.TryTakeCommand(_now, 7, out var command));
        Assert.Equal([new OffsetRange(0, 2)], command.Ranges);
        Assert.Equal((7, 0, 0), (command.Group, command.Topic, command.Turn));
        var second = Ask(SettleKind.Ack, Part(token, 5, 7));
        var third = Ask(SettleKind.Ack, Part(token, 7, 8));
        Assert.False(_group.Settling.TryTakeCommand(_now, 7, out _));
        Assert.Empty(_group.Settling.TakeAnswers());
        _group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal([new SettleAnswer(first, 0)], _group.Settling.TakeAnswers());
        Assert.True(_group.Settling.TryTakeCommand(_now, 7, out command));
        Assert.Equal([new OffsetRange(5, 8)], command.Ranges);
        _group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal([new SettleAnswer(second, 0), new SettleAnswer(third, 0)], _group.Settling.TakeAnswers());
        Assert.Equal(("Settled", "Out"), (_group.PlaceOf(0, 7, _now), _group.PlaceOf(0, 8, _now)));
    }

    [Fact]
    public void What_the_shard_did_not_take_is_tried_again_and_answered_then()
    {
        var request = Ask(SettleKind.Ack, Give().Token);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        _group.Settling.OnSettled(command, RefusalCode.ResourceExhausted, _now);
        Assert.Empty(_group.Settling.TakeAnswers());
        Assert.False(_group.Settling.TryTakeCommand(_now, 1, out _));
        Assert.True(_group.Settling.TryTakeCommand(_now + 500, 1, out command));
        Assert.Equal([new OffsetRange(0, 10)], command.Ranges);
        _group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal([new SettleAnswer(request, 0)], _group.Settling.TakeAnswers());
    }

    [Fact]
    public void A_record_whose_lease_ran_out_comes_again_and_the_old_token_is_refused()
    {
        var token = Give().Token;
        Pass(999);
        Assert.False(_group.TryGive(_now, out _));
        Pass(1);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        Assert.Equal(10, command.Deliveries.Count);
        Assert.All(command.Deliveries, static each => Assert.Equal(new Tried(1), each.Tried));
        var again = Give();
        Assert.Equal((2, token.Range), (again.Token.Attempt, again.Token.Range));
        var late = Ask(SettleKind.Ack, token);
        Assert.Equal([new SettleAnswer(late, 10)], _group.Settling.TakeAnswers());
        Assert.Equal("Out", _group.PlaceOf(0, 3, _now));
    }

    [Fact]
    public void Records_whose_time_is_over_are_settled_and_counted_and_give_their_credit_back()
    {
        var given = Give();
        var credit = _group.Describe(given.Consumer).Records;
        _group.Expire(given.Token, new OffsetRange(2, 5));
        Assert.Equal(("Out", "Settling", "Out"), (
            _group.PlaceOf(0, 1, _now), _group.PlaceOf(0, 4, _now), _group.PlaceOf(0, 5, _now)));
        Assert.Equal((7, credit + 3), (_group.Out, _group.Describe(given.Consumer).Records));
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        Assert.Equal([new OffsetRange(2, 5)], command.Ranges);
        Assert.Equal(3, _group.Describe(0, _now).Expired);
    }

    [Fact]
    public void A_token_is_good_from_another_stream_while_its_lease_holds()
    {
        var token = Give().Token;
        _group.RemoveConsumer(1);
        Pass(900);
        Ask(SettleKind.Ack, token);
        Commit();
        Assert.Equal(0, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        Assert.Equal("Settled", _group.PlaceOf(0, 9, _now));
        Assert.Equal(0, _group.Out);
    }

    [Fact]
    public void An_extended_lease_holds_longer_and_only_for_its_records()
    {
        var token = Give().Token;
        Ask(SettleKind.Extend, Part(token, 2, 4), 5_000);
        Assert.Equal(0, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        Pass(1_000);
        Assert.Equal(("Waiting", "Out"), (_group.PlaceOf(0, 1, _now), _group.PlaceOf(0, 2, _now)));
        Pass(4_000);
        Assert.Equal("Waiting", _group.PlaceOf(0, 2, _now));
    }

    [Fact]
    public void A_nack_waits_as_long_as_it_says_or_as_the_group_says()
    {
        _group.Settings = Settings with { BackOffMs = [100, 300], MaxDeliveries = 0 };
        var token = Give().Token;
        Ask(SettleKind.Nack, Part(token, 0, 1));
        Ask(SettleKind.Nack, Part(token, 1, 2), 50);
        Ask(SettleKind.Nack, Part(token, 2, 3), 0);
        Assert.Equal(
            ("Delayed", "Delayed", "Waiting"),
            (_group.PlaceOf(0, 0, _now), _group.PlaceOf(0, 1, _now), _group.PlaceOf(0, 2, _now)));
        Commit();
        Assert.Equal(3, _group.Settling.TakeAnswers().Count);
        Assert.Equal(2, Give().Token.Range.First);
        Pass(50);
        Assert.Equal(1, Give().Token.Range.First);
        Pass(50);
        foreach (var wait in new[] { 300, 300, 300 })
        {
            Ask(SettleKind.Nack, Give().Token);
            Assert.False(_group.TryGive(_now + wait - 1, out _));
            Pass(wait);
        }

        Assert.Equal(5, Give().Token.Attempt);
    }

    [Fact]
    public void A_record_that_was_delivered_so_often_dies_once()
    {
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            Assert.Equal(attempt, Give().Token.Attempt);
            Pass(1_000);
        }

        Assert.False(_group.TryGive(_now, out _));
        var dead = 0;
        while (_group.Dying.TryTake(_now, out var dying))
        {
            Assert.Equal(new DyingRecord(0, 0, dead, 3, null), dying);
            _group.Dying.OnBuried(0, 0, dying.Offset, dead == 4 ? RefusalCode.NotFound : RefusalCode.None, _now);
            dead++;
        }

        Assert.Equal(10, dead);
        Assert.Equal(("Dying", "Settled"), (_group.PlaceOf(0, 4, _now), _group.PlaceOf(0, 5, _now)));
        Assert.True(_group.Dying.TryTake(_now + 500, out var again));
        Assert.Equal(4, again.Offset);
        _group.Dying.OnBuried(0, 0, 4, RefusalCode.None, _now);
        Assert.Equal("Settled", _group.PlaceOf(0, 4, _now));
    }

    [Fact]
    public void A_terminated_record_is_answered_when_it_is_buried()
    {
        var request = Ask(SettleKind.Terminate, Part(Give().Token, 3, 5), reason: "bad");
        for (var i = 3; i < 5; i++)
        {
            Assert.Empty(_group.Settling.TakeAnswers());
            Assert.True(_group.Dying.TryTake(_now, out var dying));
            Assert.Equal(new DyingRecord(0, 0, i, 1, "bad"), dying);
            _group.Dying.OnBuried(0, 0, i, RefusalCode.None, _now);
        }

        Assert.Equal([new SettleAnswer(request, 0)], _group.Settling.TakeAnswers());
    }

    [Fact]
    public void Without_dead_letters_a_dead_record_is_only_finished()
    {
        _group.Settings = Settings with { KeepsDeadLetters = false, MaxDeliveries = 1 };
        var token = Give().Token;
        Ask(SettleKind.Terminate, Part(token, 0, 2));
        Pass(1_000);
        Assert.False(_group.Dying.TryTake(_now, out _));
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        Assert.Equal([new OffsetRange(0, 10)], command.Ranges);
    }

    [Fact]
    public void The_next_leader_goes_on_with_what_was_settled_counted_and_delayed()
    {
        var progress = new GroupProgress(0, 2, turn: 4);
        progress.Settle(new OffsetRange(4, 6));
        progress.NoteDeliveries(3, new Tried(2, 700, _now));
        progress.NoteDeliveries(7, new Tried(1));
        _group.Follow(0, progress, 10, _now);
        Assert.Equal(
            ["Settled", "Settled", "Fresh", "Delayed", "Settled", "Settled", "Fresh", "Waiting", "Fresh", "Fresh"],
            Enumerable.Range(0, 10).Select(offset => _group.PlaceOf(0, offset, _now)));
        var given = Enumerable.Range(0, 4).Select(_ => Give()).ToList();
        Assert.Equal(
            [(2L, 3L, 1), (6, 7, 1), (7, 8, 2), (8, 10, 1)],
            given.Select(static each => (each.Token.Range.First, each.Token.Range.End, each.Token.Attempt)).Order());
        Assert.All(given, static each => Assert.Equal(4, each.Token.Turn));
        Pass(700);
        var late = Give();
        Assert.Equal((3L, 3), (late.Token.Range.First, late.Token.Attempt));
    }

    [Fact]
    public void A_token_of_the_leader_before_settles_what_nobody_else_has()
    {
        var token = new DeliveryToken(0, 0, 4, 17, _now + 500, 1, new OffsetRange(8, 10));
        Ask(SettleKind.Ack, token);
        Commit();
        Assert.Equal(0, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        Assert.Equal(new OffsetRange(0, 8), Give().Token.Range);

        // What is out at another one now, and what comes too late, is not its own any more.
        Ask(SettleKind.Ack, token with { Range = new OffsetRange(7, 9) });
        Assert.Equal(1, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        _group.OnAppended(0, 12);
        Ask(SettleKind.Ack, token with { Range = new OffsetRange(10, 12), DeadlineUnixMs = _now });
        Assert.Equal(2, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        Assert.Equal(new OffsetRange(10, 12), Give().Token.Range);
    }

    [Fact]
    public void After_a_seek_nothing_of_before_can_be_settled()
    {
        var token = Give().Token;
        var under = Ask(SettleKind.Ack, Part(token, 0, 5));
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        var progress = new GroupProgress(0, 0, 0);
        progress.Seek(6);
        _group.Follow(0, progress, 10, _now);
        Assert.Equal([new SettleAnswer(under, 1)], _group.Settling.TakeAnswers());
        _group.Settling.OnSettled(command, RefusalCode.FailedPrecondition, _now);
        Assert.Equal(0, _group.Out);
        Ask(SettleKind.Ack, token);
        Assert.Equal(10, Assert.Single(_group.Settling.TakeAnswers()).Lost);
        Pass(2_000);
        Assert.Equal(new OffsetRange(6, 10), Give().Token.Range);
    }

    [Fact]
    public void A_command_of_before_a_topic_was_left_says_nothing_of_the_one_under_way()
    {
        var before = Ask(SettleKind.Ack, Give().Token);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var old));
        _group.Unfollow(0);
        Assert.Equal([new SettleAnswer(before, 1)], _group.Settling.TakeAnswers());
        _group.Follow(0, null, 10, _now);
        var again = Ask(SettleKind.Ack, Give().Token);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        _group.Settling.OnSettled(old, RefusalCode.None, _now);
        Assert.Empty(_group.Settling.TakeAnswers());
        _group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal([new SettleAnswer(again, 0)], _group.Settling.TakeAnswers());
    }

    [Fact]
    public void Leases_that_are_over_do_not_fill_the_memory()
    {
        _group.Settings = Settings with { AckWaitMs = Limits.GroupWaitMostMs, MaxOutstanding = 1 };
        _group.OnAppended(0, 5_000);
        for (var i = 0; i < 5_000; i++)
        {
            _group.AddCredit(1, 1, 1);
            Ask(i % 2 == 0 ? SettleKind.Extend : SettleKind.Ack, Give().Token is var token ? token : default);
            Ask(SettleKind.Ack, token);
            Commit();
            Pass(1);
        }

        Assert.Equal("Settled", _group.PlaceOf(0, 4_999, _now));
        Assert.InRange(_group.Alarms, 0, 1_100);
    }

    [Fact]
    public void Only_so_many_records_are_out_at_a_time()
    {
        _group.Settings = Settings with { MaxOutstanding = 4 };
        var first = Give().Token;
        Assert.Equal(4, first.Range.Count);
        Assert.False(_group.TryGive(_now, out _));
        Ask(SettleKind.Nack, Part(first, 1, 2), 0);
        Assert.Equal(new OffsetRange(1, 2), Give().Token.Range);
        Assert.False(_group.TryGive(_now, out _));
        _group.Settings = _group.Settings with { MaxOutstanding = 100, IsPaused = true };
        Assert.False(_group.TryGive(_now, out _));
    }

    [Fact]
    public void Topics_and_consumers_take_turns()
    {
        _group.Follow(1, null, 10, _now);
        _group.AddConsumer(2);
        _group.AddCredit(2, 10, 100);
        _group.Settings = Settings with { MaxOutstanding = 2 };
        var given = new List<(int Consumer, int Topic)>();
        for (var i = 0; i < 4; i++)
        {
            var next = Give();
            given.Add((next.Consumer, next.Token.Topic));
            Ask(SettleKind.Ack, next.Token);
            Commit();
        }

        Assert.Equal([(1, 0), (2, 1), (1, 0), (2, 1)], given);
    }

    [Fact]
    public void What_could_not_be_sent_comes_again_as_if_it_had_not_been_given()
    {
        _group.AddConsumer(2);
        var given = Give();
        _group.TakeBack(given.Token, new OffsetRange(6, 8), _now);
        _group.Delay(given.Token, 8, _now + 100);
        _group.Skip(given.Token, OffsetRange.One(9));
        Assert.Equal(
            ("Waiting", "Delayed", "Settling"),
            (_group.PlaceOf(0, 6, _now), _group.PlaceOf(0, 8, _now), _group.PlaceOf(0, 9, _now)));
        Commit();
        Assert.Equal("Settled", _group.PlaceOf(0, 9, _now));
        var again = Give();
        Assert.Equal((new OffsetRange(6, 8), 1), (again.Token.Range, again.Token.Attempt));
        Pass(100);
        Assert.Equal((8L, 1), (Give() is var late ? late.Token.Range.First : 0, late.Token.Attempt));
    }

    [Fact]
    public void What_a_purge_removed_before_it_was_given_is_settled_at_once()
    {
        _group.OnPurged(0, 7);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        Assert.Equal([new OffsetRange(0, 7)], command.Ranges);
        Assert.Equal(new OffsetRange(7, 10), Give().Token.Range);
    }

    [Fact]
    public void What_becomes_of_records_is_counted_once()
    {
        var token = Give().Token;
        Ask(SettleKind.Ack, Part(token, 0, 3));
        Ask(SettleKind.Ack, Part(token, 0, 3));
        Ask(SettleKind.Nack, Part(token, 3, 5), delayMs: 10_000);
        Ask(SettleKind.Terminate, Part(token, 5, 6));
        _group.Expire(token, new OffsetRange(6, 8));
        Pass(1_000);
        Assert.True(_group.Dying.TryTake(_now, out var dying));
        _group.Dying.OnBuried(0, dying.Turn, dying.Offset, RefusalCode.None, _now);
        var tally = new GroupTally { Acked = 3, Nacked = 2, Lapsed = 2, GivenUp = 1, Expired = 2 };
        Assert.Equal(tally, _group.TakeTally());
        Assert.Equal(default, _group.TakeTally());
    }

    private GivenRecords Give()
    {
        Assert.True(_group.TryGive(_now, out var given));
        return given;
    }

    private void Pass(long milliseconds)
    {
        _now += milliseconds;
        _group.PassTime(_now);
    }

    private long Ask(SettleKind kind, DeliveryToken token, long? delayMs = null, string? reason = null)
    {
        _group.Settling.Settle(new SettleRequest(++_request, kind, token, delayMs, reason), _now);
        return _request;
    }

    private void Commit()
    {
        while (_group.Settling.TryTakeCommand(_now, 1, out var command))
        {
            _group.Settling.OnSettled(command, RefusalCode.None, _now);
        }
    }

    private static DeliveryToken Part(in DeliveryToken token, long first, long end) =>
        token with { Range = new OffsetRange(first, end) };
}
