using Broker.Client;
using Broker.Delivery;
using Broker.Domain;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

public sealed class FilterReaderTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);
    private static readonly GroupId Shard = new(1);

    private readonly Entries _entries = new();
    private readonly List<LogEntry> _log = [];
    private readonly TailSignal _signal = new(maxWatches: 2);
    private readonly TopicStateMachine _machine;
    private readonly FilterReader _reader;

    public FilterReaderTests()
    {
        _machine = new TopicStateMachine(new ShardDelivery(Shard, _signal, null));
        var shard = new TopicReader(_machine, _signal, ReadEntries) { Group = Shard };
        _reader = new FilterReader(new Dictionary<GroupId, TopicReader> { [Shard] = shard }, new ShardMap(1), _signal);
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_busy_topic_does_not_hold_up_the_others()
    {
        for (var i = 0; i < 10; i++)
        {
            Apply(_entries.Of(Entries.PublishCommand("a", new byte[300 * 1024])));
        }

        Publish("b");
        await using var items = Subscribe(new SubscriptionStart { FromBeginning = true });
        Assert.Equal(("", 0L), await NextAsync(items));
        Assert.Equal([("a", 3L), ("b", 1L), ("a", 6L), ("a", 9L), ("a", 10L)], await TakeAsync(items, 5));
    }

    [Fact]
    public async Task Many_batches_wake_a_subscriber_once_and_all_of_them_come()
    {
        await using var items = Subscribe(new SubscriptionStart());
        await NextAsync(items);
        Publish("a");
        Publish("b");
        Publish("a");
        Assert.Equal([("a", 2L), ("b", 1L)], await TakeAsync(items, 2));
        var next = NextAsync(items);
        Assert.False(next.IsCompleted);
        Publish("c");
        Assert.Equal(("c", 1L), await next);
    }

    [Fact]
    public async Task A_topic_under_the_name_of_a_deleted_one_begins_anew()
    {
        Publish("a");
        Publish("a");
        await using var items = Subscribe(new SubscriptionStart { FromBeginning = true });
        Assert.Equal([("", 0L), ("a", 2L)], await TakeAsync(items, 2));
        Apply(_entries.Of(Entries.Metadata(into => TopicCommands.WriteDeleteTopic(into, "a"))));
        Publish("a");
        Assert.Equal(("a", 1L), await NextAsync(items));
    }

    [Fact]
    public async Task A_position_of_a_topic_that_this_replica_does_not_have_yet_waits_for_it()
    {
        var start = new SubscriptionStart { Positions = [new TopicPosition("a", 0, new TopicId(Shard, 1), 1)] };
        Publish("a");
        await using var items = Subscribe(start);
        await NextAsync(items);

        // The topic of number 0 is older than the position's, and none of its records is wanted.
        Publish("a");
        var next = NextAsync(items);
        Assert.False(next.IsCompleted);
        Apply(_entries.Of(Entries.Metadata(into => TopicCommands.WriteDeleteTopic(into, "a"))));
        Publish("a");
        Publish("a");
        Assert.Equal(("a", 2L), await next);
    }

    [Fact]
    public async Task Places_are_bounded_and_given_back()
    {
        var first = Subscribe(new SubscriptionStart());
        await using var second = Subscribe(new SubscriptionStart());
        await NextAsync(first);
        await NextAsync(second);
        await using var third = Subscribe(new SubscriptionStart());
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => NextAsync(third));
        Assert.Equal(RefusalCode.Overloaded, refusal.Code);
        await first.DisposeAsync();
        await using var fourth = Subscribe(new SubscriptionStart());
        await NextAsync(fourth);
    }

    [Fact]
    public void A_token_is_read_as_it_was_written_and_nothing_else_is()
    {
        (GroupId, long)[] times = [(new GroupId(1), 0), (new GroupId(3), long.MaxValue)];
        var token = ResumeToken.Encode(times);
        Assert.True(ResumeToken.TryDecode(token.Span, out var read));
        Assert.Equal(times, read.Select(pair => (pair.Key, pair.Value)));
        Assert.False(ResumeToken.TryDecode([], out _));
        Assert.False(ResumeToken.TryDecode(token.Span[..^1], out _));
        Assert.False(ResumeToken.TryDecode([2, .. token.Span[1..]], out _));
        Assert.False(ResumeToken.TryDecode([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], out _));
    }

    private IAsyncEnumerator<SubscribedPage> Subscribe(SubscriptionStart start) =>
        _reader.ReadAsync([TopicFilter.Parse(">")], start, Stop).GetAsyncEnumerator(Stop);

    private static async Task<(string Topic, long NextOffset)> NextAsync(IAsyncEnumerator<SubscribedPage> items)
    {
        Assert.True(await items.MoveNextAsync().AsTask().WaitAsync(Deadline, Stop));
        return (items.Current.Topic, items.Current.Page?.NextOffset ?? 0);
    }

    private static async Task<List<(string, long)>> TakeAsync(IAsyncEnumerator<SubscribedPage> items, int count)
    {
        var taken = new List<(string, long)>();
        while (taken.Count < count)
        {
            taken.Add(await NextAsync(items));
        }

        return taken;
    }

    private void Publish(string topic) => Apply(_entries.Publish(topic));

    private void Apply(LogEntry entry)
    {
        _log.Add(entry);
        _machine.Apply(entry, []);
    }

    private int ReadEntries(LogIndex first, LogIndex last, int maxBytes, ICollection<LogEntry> into)
    {
        var bytes = 0;
        foreach (var entry in _log.Where(each => each.Index >= first && each.Index <= last))
        {
            if (into.Count > 0 && bytes + entry.Body.Length > maxBytes)
            {
                break;
            }

            bytes += entry.Body.Length;
            into.Add(entry);
        }

        return into.Count;
    }
}
