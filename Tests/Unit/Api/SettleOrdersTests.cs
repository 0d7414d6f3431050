using Broker.Api;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.Wire;
using Google.Protobuf;
using Xunit;

namespace Broker.Tests.Unit.Api;

public sealed class SettleOrdersTests
{
    private static readonly DeliveredRange Range =
        new() { Token = ByteString.CopyFromUtf8("token"), First = 2, Count = 3 };

    [Fact]
    public void What_a_request_says_is_what_is_ordered()
    {
        var ack = Assert.Single(SettleOrders.Of(new Ack { Ranges = { Range } }).Orders);
        Assert.Equal((SettleKind.Ack, 2, 3), (ack.Kind, ack.First, ack.Count));
        Assert.Equal("token"u8.ToArray(), ack.Token.ToArray());
        Assert.Equal(
            new long?[] { null, 0, 86_400_000 },
            new ulong?[] { null, 0, ulong.MaxValue }.Select(static delay =>
                SettleOrders.Of(new Nack { Ranges = { Range }, DelayMs = delay }).Orders[0].DelayMs));
        Assert.Equal(
            new long?[] { null, 5, 86_400_000 },
            new ulong[] { 0, 5, ulong.MaxValue }.Select(static lease =>
                SettleOrders.Of(new Extend { Ranges = { Range }, LeaseMs = lease }).Orders[0].DelayMs));
        var terminated = SettleOrders.Of(new Terminate { Ranges = { Range }, Reason = new string('漢', 400) }).Orders[0];
        Assert.Equal((SettleKind.Terminate, new string('漢', 341)), (terminated.Kind, terminated.Reason));
    }

    [Fact]
    public void A_request_without_ranges_or_with_too_many_is_refused()
    {
        Assert.Throws<BrokerException>(() => SettleOrders.Of(new Ack()));
        Assert.Throws<BrokerException>(() => SettleOrders.Of(new Settlement()));
        Assert.Throws<BrokerException>(() =>
            SettleOrders.Of(new Ack { Ranges = { Enumerable.Repeat(Range, 1_001) } }));
    }

    [Fact]
    public void A_range_that_names_nothing_is_answered_and_nothing_is_ordered()
    {
        DeliveredRange[] bad =
        [
            new(), new() { Token = ByteString.CopyFrom(new byte[65]) },
            new() { Token = Range.Token, First = uint.MaxValue }, new() { Token = Range.Token, Count = uint.MaxValue },
        ];
        foreach (var range in bad)
        {
            var orders = SettleOrders.Of(new Ack { Correlation = 9, Ranges = { Range, range } });
            Assert.Empty(orders.Orders);
            var answer = orders.Answer([], 0);
            Assert.Equal((9UL, 3U, Reason.InvalidRequest), (answer.Correlation, answer.Status, answer.Reason));
        }
    }

    [Fact]
    public void The_answer_is_of_its_own_orders_alone_and_a_refusal_goes_before_what_is_lost()
    {
        var orders = SettleOrders.Of(new Ack { Ranges = { Range, Range } });
        var refused = Refusal.NoLeader(new GroupId(1));
        SettleOutcome[] outcomes =
        [
            new(refused, 0), new(null, 0), new(null, 0), new(null, 2), new(null, 1), new(refused, 0),
        ];
        Assert.Equal((0U, 0U), Status(orders.Answer(outcomes, 1)));
        Assert.Equal((5U, 2U), Status(orders.Answer(outcomes, 2)));
        Assert.Equal((5U, 3U), Status(orders.Answer(outcomes, 3)));
        Assert.Equal((14U, 1U), Status(orders.Answer(outcomes, 4)));
    }

    private static (uint Status, uint Lost) Status(Settled settled) => (settled.Status, settled.Lost);
}
