using System.Threading.Channels;
using Broker.Api;
using Broker.Delivery;
using Broker.Tests.Unit.Storage;
using Xunit;

namespace Broker.Tests.Unit.Api;

/// <summary>How long a fetch waits for the leaders of all shards.</summary>
public sealed class FetchCallTests
{
    private static readonly TimeSpan Wait = TimeSpan.FromSeconds(30);

    private readonly ManualClock _clock = new();
    private readonly Session _session = new();

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_a_slow_leader_has_is_in_the_answer()
    {
        var fetched = FetchAsync(Wait);
        await _session.DeliverAsync("a");
        _clock.Advance(TimeSpan.FromMilliseconds(1_900));
        Assert.False(fetched.IsCompleted);
        await _session.DeliverAsync("b");
        _session.SayQuiet();
        Assert.Equal(["a", "b"], await EndAsync(fetched));
    }

    [Fact]
    public async Task A_leader_that_is_silent_for_two_seconds_is_not_waited_for()
    {
        var fetched = FetchAsync(Wait);
        await _session.DeliverAsync("a");
        _clock.Advance(TimeSpan.FromMilliseconds(1_999));
        Assert.False(fetched.IsCompleted);
        _clock.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal(["a"], await fetched.WaitAsync(Wait, Test));
    }

    [Fact]
    public async Task Nobody_is_waited_for_longer_than_the_fetch_waits()
    {
        var fetched = FetchAsync(TimeSpan.FromMilliseconds(300));
        await _session.DeliverAsync("a");
        _clock.Advance(TimeSpan.FromMilliseconds(300));
        Assert.Equal(["a"], await fetched.WaitAsync(Wait, Test));
    }

    [Fact]
    public async Task Who_finds_nothing_waits_for_the_first_record_though_all_leaders_have_answered()
    {
        var fetched = FetchAsync(Wait);
        _session.SayQuiet();
        _clock.Advance(TimeSpan.FromSeconds(29));
        Assert.False(fetched.IsCompleted);
        await _session.DeliverAsync("a");
        Assert.Equal(["a"], await EndAsync(fetched));
    }

    [Fact]
    public async Task Who_has_as_much_as_was_wanted_waits_for_nobody()
    {
        var fetched = FetchAsync(Wait, records: 2);
        await _session.DeliverAsync("a");
        await _session.DeliverAsync("b");
        Assert.Equal(["a", "b"], await fetched.WaitAsync(Wait, Test));
    }

    private async Task<List<string>> FetchAsync(TimeSpan wait, int records = 10)
    {
        var topics = new List<string>();
        var call = new FetchCall(_session, null!, records, bytes: 1_000, wait, _clock);
        await foreach (var delivery in call.ReadAsync(Test))
        {
            topics.Add(delivery.Topic);
            _session.Read();
        }

        return topics;
    }

    /// <summary>What is left to wait for is short, and begins when the fetch has seen what came.</summary>
    private async Task<List<string>> EndAsync(Task<List<string>> fetched)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
        patience.CancelAfter(Wait);
        while (!fetched.IsCompleted)
        {
            _clock.Advance(TimeSpan.FromMilliseconds(1));
            await Task.Delay(1, patience.Token);
        }

        return await fetched;
    }

    private sealed class Session : IGroupSession
    {
        private readonly Channel<GroupDelivery> _deliveries = Channel.CreateUnbounded<GroupDelivery>();
        private readonly Channel<bool> _reads = Channel.CreateUnbounded<bool>();
        private readonly TaskCompletionSource _quiet = new();

        public Task AllQuiet => _quiet.Task;

        public void AddCredit(int records, long bytes) => throw new NotSupportedException();

        public void SayQuiet() => _quiet.TrySetResult();

        public void Read() => Assert.True(_reads.Writer.TryWrite(true));

        /// <summary>Until the fetch has taken it.</summary>
        public async Task DeliverAsync(string topic)
        {
            await _deliveries.Writer.WriteAsync(new GroupDelivery(default, topic, 0, 0, 0, new byte[1], 1, 1), Test);
            Assert.True(await _reads.Reader.ReadAsync(Test).AsTask().WaitAsync(Wait, Test));
        }

        public IAsyncEnumerable<GroupDelivery> ReadAsync(CancellationToken cancellationToken) =>
            _deliveries.Reader.ReadAllAsync(cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
