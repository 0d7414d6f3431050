using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class RecordPeekTests
{
    private static readonly ConsumerRank Rank = new(10, 2, 7);

    private readonly GroupDispatcher _group = new(
        new Term(5), new ConsumerGroupSettings { Filters = [">"], AckWaitMs = 1_000, MaxOutstanding = 100 });

    private long _now = 10_000;

    public RecordPeekTests()
    {
        _group.Follow(0, null, 10, _now);
        _group.AddConsumer(1, Rank, "anna");
        _group.AddCredit(1, 4, 1_000_000);
    }

    [Fact]
    public void What_is_out_says_whose_it_is_and_until_when_also_when_that_consumer_has_gone()
    {
        Assert.True(_group.TryGive(_now, out _));
        _group.RemoveConsumer(1);
        Assert.Equal(
            Enumerable.Range(0, 4).Select(static i => new PeekedOffset(i, 1, "anna", Rank, 11_000)),
            Peek(PeekState.Outstanding));
        Assert.Equal(Enumerable.Range(4, 6).Select(static i => new PeekedOffset(i, 0)), Peek(PeekState.Waiting));
        Assert.Equal([6L, 7L], _group.Peek(0, PeekState.Waiting, 6, 2, _now).Select(static each => each.Offset));
    }

    [Fact]
    public void What_was_given_back_is_delayed_until_it_is_due_and_waits_then_among_what_is_new()
    {
        Assert.True(_group.TryGive(_now, out var given));
        var two = given.Token with { Range = new OffsetRange(1, 3) };
        _group.Settling.Settle(new SettleRequest(1, SettleKind.Nack, two, 500, null), _now);
        Assert.Equal(
            [new PeekedOffset(1, 1, UntilUnixMs: 10_500), new PeekedOffset(2, 1, UntilUnixMs: 10_500)],
            Peek(PeekState.Delayed));
        Assert.Equal(2, Peek(PeekState.Outstanding).Count);
        _now += 500;
        Assert.Empty(Peek(PeekState.Delayed));
        Assert.Equal([1, 2, 4, 5], _group.Peek(0, PeekState.Waiting, 0, 4, _now).Select(static each => each.Offset));
    }

    [Fact]
    public void Dead_letters_wait_only_when_they_are_redriven()
    {
        _group.Follow(1, null, 3, _now, isOfTheDead: true);
        Assert.Empty(_group.Peek(1, PeekState.Waiting, 0, 10, _now));
        Assert.Equal(1, _group.Dying.TakeDead(1, 1, offset: 1, isPurge: false, _now));
        Assert.Equal([new PeekedOffset(1, 0, UntilUnixMs: _now)], _group.Peek(1, PeekState.Waiting, 0, 10, _now));
    }

    private IReadOnlyList<PeekedOffset> Peek(PeekState state) => _group.Peek(0, state, 0, 100, _now);
}
