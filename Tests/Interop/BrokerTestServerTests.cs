using System.Diagnostics;
using System.Text;
using Broker.Client;
using Broker.ServiceDefaults;
using Broker.Testing;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// The broker in a test's own process, as a user's test has it: with the client, and a clock that is moved.
/// </summary>
public sealed class BrokerTestServerTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_delayed_message_comes_when_the_clock_says_so_and_not_before()
    {
        await using var broker = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var client = broker.CreateClient();
        await client.CreateGroupAsync("g", new GroupSettings { Filters = ["a"] }, cancellationToken: Test);
        var due = broker.Time.GetUtcNow() + TimeSpan.FromHours(2);
        await client.PublishAsync("a", Message("later") with { DeliverAt = due }, Test);
        await client.PublishAsync("a", Message("now"), Test);

        Assert.Equal("now", Text(await FetchOneAsync(client)));
        broker.Advance(TimeSpan.FromMinutes(119));
        Assert.Empty(await client.FetchAsync("g", wait: TimeSpan.FromMilliseconds(300), cancellationToken: Test));
        broker.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal("later", Text(await FetchOneAsync(client)));
    }

    [Fact]
    public async Task A_time_to_live_ends_and_a_lease_ends_when_the_clock_says_so()
    {
        await using var broker = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var client = broker.CreateClient();
        var settings = new GroupSettings { Filters = ["a"], AckWait = TimeSpan.FromMinutes(10) };
        await client.CreateGroupAsync("g", settings, cancellationToken: Test);
        await client.PublishAsync("a", Message("stays"), Test);
        var held = Assert.Single(
            await client.FetchAsync("g", wait: TimeSpan.FromSeconds(10), cancellationToken: Test));

        broker.Advance(TimeSpan.FromMinutes(11));
        var again = await FetchOneAsync(client, ack: false);
        Assert.Equal(("stays", 2), (Text(again), again.Attempt));
        Assert.False(await held.AckAsync(Test));
        Assert.True(await again.AckAsync(Test));

        // Nobody asks while it is worth something.
        await client.PublishAsync("a", Message("short") with { TimeToLive = TimeSpan.FromHours(1) }, Test);
        broker.Advance(TimeSpan.FromHours(2));
        await client.PublishAsync("a", Message("next"), Test);
        Assert.Equal("next", Text(await FetchOneAsync(client)));
    }

    [Fact]
    public async Task What_is_too_old_goes_when_the_clock_says_so()
    {
        await using var broker = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var client = broker.CreateClient();
        await client.CreateTopicAsync("a", new TopicSettings { MaxAge = TimeSpan.FromDays(1) }, Test);
        await client.PublishAsync("a", Message("old"), Test);
        broker.Advance(TimeSpan.FromDays(30));
        await client.PublishAsync("a", Message("young"), Test);

        await Eventually.HoldsAsync(
            async () => (await ReadAsync(client)) is ["young"], () => "what is older than a day is gone");
        var records = await client.ReadAsync("a", cancellationToken: Test).ToListAsync(Test);
        Assert.InRange(
            records[0].Timestamp,
            broker.Time.GetUtcNow() - TimeSpan.FromMinutes(1),
            broker.Time.GetUtcNow());
    }

    [Fact]
    public async Task Ten_years_pass_at_once_and_the_broker_goes_on()
    {
        var start = new DateTimeOffset(2000, 1, 1, 0, 0, 0, TimeSpan.Zero);
        await using var broker = await BrokerTestServer.StartAsync(
            new BrokerTestServerOptions { StartTime = start }, Test);
        await using var client = broker.CreateClient();
        Assert.InRange((await client.PublishAsync("a", Message("1"), Test)).Timestamp.Year, 2000, 2000);

        var watch = Stopwatch.StartNew();
        broker.Advance(TimeSpan.FromDays(3_660));

        Assert.Equal(2010, (await client.PublishAsync("a", Message("2"), Test)).Timestamp.Year);
        Assert.Equal(["1", "2"], await ReadAsync(client));
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task A_broker_that_is_away_and_comes_back_has_what_it_had_and_clients_wait_for_it()
    {
        await using var broker = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var client = broker.CreateClient();
        var address = broker.Address;
        await client.PublishAsync("a", Message("before"), Test);

        await broker.StopAsync(Test);
        await broker.StopAsync(Test);
        var waiting = client.PublishAsync("a", Message("meanwhile"), Test).AsTask();
        await Task.Delay(200, Test);
        Assert.False(waiting.IsCompleted);
        await broker.RestartAsync(Test);

        Assert.Equal(1, (await waiting).Offset);
        await broker.RestartAsync(Test);
        await client.PublishAsync("a", Message("after"), Test);
        Assert.Equal(["before", "meanwhile", "after"], await ReadAsync(client));
        Assert.Equal(address, broker.Address);
    }

    [Fact]
    public async Task Servers_in_one_process_do_not_know_each_other_and_each_has_its_clock()
    {
        await using var one = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var other = await BrokerTestServer.StartAsync(cancellationToken: Test);
        await using var client = one.CreateClient();
        await using var others = other.CreateClient();
        one.Advance(TimeSpan.FromDays(1));

        await client.PublishAsync("a", Message("mine"), Test);

        Assert.Empty(await others.ListTopicsAsync(cancellationToken: Test));
        Assert.True(one.Time.GetUtcNow() - other.Time.GetUtcNow() > TimeSpan.FromHours(23));
        using var http = new HttpClient { BaseAddress = one.HttpAddress };
        Assert.Equal("mine", await http.GetStringAsync(new Uri("/v1/topics/a/records/0", UriKind.Relative), Test));
    }

    [Fact]
    public async Task Memory_that_is_full_refuses_publishes_and_what_is_there_stays()
    {
        await using var broker = await BrokerTestServer.StartAsync(
            new BrokerTestServerOptions { MemoryBytes = 128 << 20 }, Test);
        await using var client = broker.CreateClient(
            new BrokerClientOptions { PublishTimeout = TimeSpan.FromSeconds(3) });
        var large = new BrokerMessage { Value = new byte[1_000_000] };
        var (stored, unknown) = (0, 0);
        BrokerClientException? full = null;
        while (full?.Code != BrokerClientErrorCode.Unavailable)
        {
            try
            {
                await client.PublishAsync("a", large, Test);
                Assert.True(++stored <= 128, "the memory has an end");
            }
            catch (BrokerClientException refused)
            {
                // It was on its way when the last byte was taken.
                full = refused;
                unknown += refused.Code == BrokerClientErrorCode.OutcomeUnknown ? 1 : 0;
                Assert.InRange(unknown, 0, 5);
            }
        }

        Assert.Contains("Nothing was stored; shorten what topics keep", full.Message, StringComparison.Ordinal);
        Assert.InRange(stored, 50, 128);
        var records = await client.ReadAsync("a", cancellationToken: Test).ToListAsync(Test);
        Assert.InRange(records.Count, stored, stored + unknown);
    }

    [Fact]
    public async Task Bad_options_are_refused_with_a_sentence()
    {
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => BrokerTestServer.StartAsync(
            new BrokerTestServerOptions { MemoryBytes = 1 }, Test));
        var settings = new Dictionary<string, string?> { ["Broker:DataShards"] = "0" };
        var refused = await Assert.ThrowsAsync<StartupException>(() => BrokerTestServer.StartAsync(
            new BrokerTestServerOptions { Settings = settings }, Test));
        Assert.Contains("must be from 1", refused.Message, StringComparison.Ordinal);
        await using var broker = await BrokerTestServer.StartAsync(
            new BrokerTestServerOptions { Settings = new Dictionary<string, string?> { ["Broker:DataShards"] = "1" } },
            Test);
        Assert.Throws<ArgumentOutOfRangeException>(() => broker.Advance(TimeSpan.FromSeconds(-1)));
        await using var client = broker.CreateClient();
        Assert.Equal(2, (await client.DescribeClusterAsync(Test)).Shards.Count);
    }

    private static async Task<GroupRecord> FetchOneAsync(BrokerClient client, bool ack = true)
    {
        var record = Assert.Single(
            await client.FetchAsync("g", wait: TimeSpan.FromSeconds(10), cancellationToken: Test));
        if (ack)
        {
            Assert.True(await record.AckAsync(Test));
        }

        return record;
    }

    private static async Task<List<string>> ReadAsync(BrokerClient client)
    {
        var values = new List<string>();
        await foreach (var record in client.ReadAsync("a", cancellationToken: Test))
        {
            values.Add(Encoding.UTF8.GetString(record.Value.Span));
        }

        return values;
    }

    private static BrokerMessage Message(string text) => new() { Value = Encoding.UTF8.GetBytes(text) };

    private static string Text(GroupRecord record) => Encoding.UTF8.GetString(record.Record.Value.Span);
}
