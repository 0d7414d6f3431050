using Subscriber.Following;
using Subscriber.Inbox;
using Xunit;

namespace Broker.Tests.Unit.SubscriberService;

/// <summary>What a transaction of the inbox stores, and how filters become Redis patterns' cover and SQL.</summary>
public sealed class InboxPlanTests
{
    private readonly TopicProgress _orders = new(new TopicPlace("orders"), 0);

    [Fact]
    public void Appends_that_continue_the_position_are_stored_and_move_it()
    {
        var plan = Plan(5, Append(5, 2), Append(7, 3));
        Assert.Equal(5, plan.Rows);
        Assert.Equal(10, plan.Moved[new TopicPlace("orders")]);
    }

    [Fact]
    public void What_an_unanswered_attempt_has_stored_is_not_stored_again()
    {
        var plan = Plan(7, Append(5, 2), Append(7, 3));
        Assert.Equal(3, plan.Rows);
        Assert.Equal(7, plan.Runs[0].Run.BaseOffset);
        Assert.Equal(0, Plan(10, Append(5, 2), Append(7, 3)).Rows);
    }

    [Fact]
    public void What_another_instance_has_stored_in_part_is_cut()
    {
        var plan = Plan(6, Append(5, 3));
        Assert.Equal((6, 8), (plan.Runs[0].Run.BaseOffset, plan.Runs[0].Run.EndOffset));
    }

    [Fact]
    public void What_lies_beyond_the_position_is_left_out_and_its_topic_named()
    {
        var plan = Plan(3, Append(5, 2), Append(7, 1));
        Assert.Equal(0, plan.Rows);
        Assert.Equal((5, 3), plan.Beyond[_orders]);
    }

    [Fact]
    public void A_trimmed_log_moves_the_position_over_what_is_gone()
    {
        var plan = Plan(3, new InboxAppend(_orders, 3, Run(50, 2)));
        Assert.Equal(52, plan.Moved[new TopicPlace("orders")]);
    }

    [Theory]
    [InlineData(">", "orders.eu", true)]
    [InlineData("orders.>", "orders.*.created", true)]
    [InlineData("orders.*", "orders.eu", true)]
    [InlineData("orders.*", "orders.>", false)]
    [InlineData("orders.>", "orders", false)]
    [InlineData("*.created", "orders.*", false)]
    [InlineData("orders.eu", "orders.*", false)]
    public void A_wide_filter_covers_a_narrow_one(string wide, string narrow, bool covers) =>
        Assert.Equal(covers, FilterCover.Covers(wide, narrow));

    [Fact]
    public void Covered_filters_are_left_out()
    {
        Assert.Equal(["orders.>"], FilterCover.Reduce(["orders.eu", "orders.>", "orders.*.created", "orders.>"]));
        Assert.Equal(["a.*", "*.b"], FilterCover.Reduce(["a.*", "*.b", "a.b"]));
    }

    [Theory]
    [InlineData("orders.*.created", @"^orders\.[^.]+\.created$")]
    [InlineData("orders.>", @"^orders\..+$")]
    [InlineData("*", "^[^.]+$")]
    [InlineData("a+b.*", @"^a\+b\.[^.]+$")]
    public void A_filter_becomes_an_anchored_expression(string filter, string expression) =>
        Assert.Equal(expression, InboxPages.Condition.ToRegex(filter));

    private static InboxPlan Plan(long position, params InboxAppend[] appends) =>
        InboxPlan.Make(appends, new Dictionary<TopicPlace, long> { [new TopicPlace("orders")] = position });

    private InboxAppend Append(long offset, int count) => new(_orders, offset, Run(offset, count));

    private static MessageRun Run(long offset, int count) => new(offset, new InboxRecord[count], MessageSource.Log);
}
