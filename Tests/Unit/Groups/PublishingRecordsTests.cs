using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

/// <summary>What a leader does with records while what was made of them is being published.</summary>
public sealed class PublishingRecordsTests
{
    private static readonly ConsumerGroupSettings Settings = new()
    {
        Filters = [">"],
        AckWaitMs = 1_000,
        MaxDeliveries = 3,
        MaxOutstanding = 100,
    };

    private readonly GroupDispatcher _group = new(new Term(5), Settings);
    private readonly DeliveryToken _token;
    private long _now = 10_000;

    public PublishingRecordsTests()
    {
        _group.Follow(0, null, 10, _now);
        _group.AddConsumer(1);
        _group.AddCredit(1, 4, 1_000_000);
        Assert.True(_group.TryGive(_now, out var given));
        _token = given.Token;
        Assert.Equal(4, _token.Range.Count);
        _group.AddCredit(1, 100, 0);
    }

    [Fact]
    public void They_are_finished_when_it_is_done()
    {
        _group.Settling.BeginPublishing(_token);
        Assert.Equal("Publishing", Place(2));
        _group.Settling.EndPublishing(_token, isDone: true, _now);
        Assert.All(Enumerable.Range(0, 4), offset => Assert.Equal("Settled", Place(offset)));
        Assert.Equal(0, _group.Out);
        Assert.False(_group.Settling.TryTakeCommand(_now, 1, out _));
        Pass(5_000);
        Assert.True(_group.TryGive(_now, out var given));
        Assert.Equal(new OffsetRange(4, 10), given.Token.Range);
    }

    [Fact]
    public void They_come_to_nobody_else_meanwhile_and_at_once_when_their_time_is_over_and_it_is_refused()
    {
        _group.Settling.BeginPublishing(Part(0, 2));
        _group.Settling.BeginPublishing(Part(1, 2));
        Pass(2_000);
        Assert.Equal(
            ["Publishing", "Publishing", "Waiting", "Waiting"], Enumerable.Range(0, 4).Select(offset => Place(offset)));
        _group.Settling.EndPublishing(Part(0, 2), isDone: false, _now);
        Assert.Equal(["Waiting", "Publishing"], Enumerable.Range(0, 2).Select(offset => Place(offset)));
        _group.Settling.EndPublishing(Part(1, 2), isDone: false, _now);
        Assert.Equal("Waiting", Place(1));
        Assert.Equal(0, _group.Out);
    }

    [Fact]
    public void They_stay_the_consumers_when_it_is_refused_in_time()
    {
        _group.Settling.BeginPublishing(_token);
        _group.Settling.EndPublishing(_token, isDone: false, _now);
        Assert.Equal(4, _group.Out);
        Assert.Empty(Lost(_token));
        Pass(1_000);
        Assert.Equal("Waiting", Place(0));
    }

    [Fact]
    public void An_ack_is_taken_meanwhile_and_a_nack_is_not()
    {
        _group.Settling.BeginPublishing(_token);
        _group.Settling.Settle(new SettleRequest(1, SettleKind.Nack, Part(0, 1)), _now);
        _group.Settling.Settle(new SettleRequest(2, SettleKind.Terminate, Part(1, 2)), _now);
        Assert.Equal([new SettleAnswer(1, 1), new SettleAnswer(2, 1)], _group.Settling.TakeAnswers());
        _group.Settling.Settle(new SettleRequest(3, SettleKind.Ack, Part(2, 3)), _now);
        Assert.True(_group.Settling.TryTakeCommand(_now, 1, out var command));
        Assert.Equal([new OffsetRange(2, 3)], command.Ranges);
        _group.Settling.EndPublishing(_token, isDone: true, _now);
        Assert.Equal("Settling", Place(2));
        _group.Settling.OnSettled(command, RefusalCode.None, _now);
        Assert.Equal("Settled", Place(2));
        Assert.Equal([new SettleAnswer(3, 0)], _group.Settling.TakeAnswers());
    }

    [Fact]
    public void Those_of_another_lease_leader_or_turn_are_lost_and_those_that_are_settled_are_not()
    {
        Assert.Equal([0L, 1, 2, 3], Lost(_token with { Turn = 1 }));
        Assert.Equal([0L, 1, 2, 3], Lost(_token with { Term = 4 }));
        Assert.Equal([4L], Lost(_token with { Range = new OffsetRange(4, 5) }));
        Assert.Equal([9L, 10], Lost(_token with { Range = new OffsetRange(9, 11) }));
        _group.Settling.Settle(new SettleRequest(1, SettleKind.Nack, Part(0, 1), DelayMs: 0), _now);
        Assert.Equal([0L], Lost(_token));
        Assert.True(_group.TryGive(_now, out var given));
        Assert.True(_group.TryGive(_now, out var again));
        Assert.Contains(OffsetRange.One(0), new[] { given.Token.Range, again.Token.Range });
        Assert.Equal([0L], Lost(_token));
        _group.Settling.Settle(new SettleRequest(2, SettleKind.Ack, Part(1, 2)), _now);
        Assert.Equal([0L], Lost(_token));
    }

    private string Place(long offset) => _group.PlaceOf(0, offset, _now);

    private DeliveryToken Part(long first, long end) => _token with { Range = new OffsetRange(first, end) };

    private List<long> Lost(in DeliveryToken token)
    {
        var lost = new List<long>();
        _group.Settling.FindLost(token, lost);
        return lost;
    }

    private void Pass(long milliseconds)
    {
        _now += milliseconds;
        _group.PassTime(_now);
    }
}
