using Broker.Client.Consuming;
using Google.Protobuf;
using Xunit;

namespace Broker.Tests.Unit.Client;

public sealed class CreditWindowTests
{
    private static readonly ByteString One = ByteString.CopyFromUtf8("one");
    private static readonly ByteString Two = ByteString.CopyFromUtf8("two");

    private readonly CreditWindow _window = new(leaseMs: 100);

    [Fact]
    public void What_is_settled_gives_back_what_it_took_and_no_more()
    {
        _window.Take(One, 10, 1_001, nowMs: 0);
        Assert.Equal((10, 1_001L), _window.Out);
        Assert.Equal((3, 300L), _window.GiveBack(One, first: 0, count: 3));
        Assert.Equal((7, 701L), _window.Out);

        // The same ones once more: of the delivery there is still something to give back.
        Assert.Equal(3, _window.GiveBack(One, first: 0, count: 3).Records);
        Assert.Equal((4, 401L), _window.GiveBack(One, first: 0, count: 9));
        Assert.Equal((0, 0L), _window.GiveBack(One, first: 0, count: 9));
        Assert.Equal((0, 0L), _window.GiveBack(Two, first: 0, count: 0));
        Assert.Equal((0, 0L), _window.Out);
    }

    [Fact]
    public void All_from_a_record_on_are_meant_without_a_count()
    {
        _window.Take(One, 10, 1_000, nowMs: 0);
        Assert.Equal((6, 600L), _window.GiveBack(One, first: 4, count: 0));
        Assert.Equal((0, 0L), _window.GiveBack(One, first: 9, count: 0));
        Assert.Equal((4, 400L), _window.Out);
    }

    [Fact]
    public void What_is_never_settled_gives_back_when_its_lease_is_over()
    {
        _window.Take(One, 1, 10, nowMs: 0);
        _window.Take(Two, 2, 20, nowMs: 50);
        Assert.Equal((0, 0L), _window.Expire(99));
        _window.Extend(One, forMs: null, nowMs: 80);
        _window.Extend(Two, forMs: 10, nowMs: 80);
        Assert.Equal((2, 20L), _window.Expire(150));
        Assert.Equal((1, 10L), _window.Expire(180));
        Assert.Equal((0, 0L), _window.GiveBack(One, first: 0, count: 1));
    }
}
