using Broker.Api;
using Xunit;

namespace Broker.Tests.Unit.Api;

public sealed class NearestNamesTests
{
    private static readonly string[] Known =
        ["orders.eu.created", "orders.us.created", "orders.eu.changed", "stock", "stocks", "$dlq.orders", "a"];

    [Theory]
    [InlineData("orders.eu.craeted", "orders.eu.created,orders.eu.changed,orders.us.created")]
    [InlineData("orders.eu.created", "orders.eu.created,orders.us.created")]
    [InlineData("orders.eu.chnaged", "orders.eu.changed,orders.eu.created")]
    [InlineData("stok", "stock")]
    [InlineData("stokcs", "stocks,stock")]
    [InlineData("b", "a")]
    [InlineData("invoices", "")]
    [InlineData("dlq.orders", "")]
    [InlineData("", "a")]
    public void The_nearest_names_come_first(string name, string nearest) =>
        Assert.Equal(nearest, string.Join(',', NearestNames.Find(name, Known)));

    [Fact]
    public void They_are_three_at_most() =>
        Assert.Equal(["aaa0", "aaa1", "aaa2"], NearestNames.Find("aaa", Enumerable.Range(0, 9).Select(i => $"aaa{i}")));
}
