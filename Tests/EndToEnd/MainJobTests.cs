using Broker.Client;
using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>
/// The main job on a smaller input: the packages that are installed on the machine that runs the test.
/// </summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class MainJobTests(BrokerSystem fixture)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    [Fact]
    public async Task Every_record_is_in_the_inbox_exactly_once_while_leaders_and_Redis_are_killed()
    {
        using var timeout = new CancellationTokenSource(Limit);
        var installed = await PackageIndex.ReadInstalledAsync(timeout.Token);
        var records = Enumerable.Repeat(installed, 1 + (2_000 / installed.Count))
            .SelectMany(all => all)
            .Take(2_000)
            .ToList();
        var options = new MainJobOptions
        {
            LeaderKills = 2,
            RedisKills = 1,
            Rate = 200,
            Away = TimeSpan.FromSeconds(1),
        };

        var job = new MainJob(
            fixture.System, fixture.System.Client, options, TestContext.Current.SendDiagnosticMessage);
        var report = await job.RunAsync(records, timeout.Token);

        Assert.True(report.IsPerfect, report.ToString());
    }

    [Fact]
    public async Task Every_acknowledged_message_is_there_after_all_brokers_were_killed_at_once()
    {
        using var timeout = new CancellationTokenSource(Limit);
        const string Topic = "e2e.all-killed";
        var acknowledged = new List<(long Offset, string Value)>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token);
        var publishing = PublishUntilAsync(Topic, acknowledged, stop.Token);
        await WaitUntilAsync(() => publishing.IsCompleted || CountOf(acknowledged) >= 500, timeout.Token);

        await Task.WhenAll(RunningSystem.Brokers.Select(broker => fixture.System.KillAsync(broker, timeout.Token)));
        var before = CountOf(acknowledged);
        await Task.WhenAll(
            RunningSystem.Brokers.Select(broker => fixture.System.StartResourceAsync(broker, timeout.Token)));
        await WaitUntilAsync(() => publishing.IsCompleted || CountOf(acknowledged) >= before + 500, timeout.Token);
        await stop.CancelAsync();
        await publishing;

        var stored = new Dictionary<long, string>();
        await foreach (var record in fixture.System.Client.ReadAsync(
            Topic, new ReadOptions { Linearizable = true }, timeout.Token))
        {
            stored.Add(record.Offset, System.Text.Encoding.UTF8.GetString(record.Value.Span));
        }

        Assert.All(acknowledged, ack => Assert.Equal(ack.Value, stored.GetValueOrDefault(ack.Offset)));
        Assert.Equal(stored.Count, stored.Values.Distinct().Count());
    }

    private async Task PublishUntilAsync(
        string topic, List<(long Offset, string Value)> acknowledged, CancellationToken stop)
    {
        var inFlight = new Queue<(Task<PublishAck> Ack, string Value)>();
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            var value = $"message {i}";
            var message = new BrokerMessage { Value = System.Text.Encoding.UTF8.GetBytes(value) };
            inFlight.Enqueue(
                (fixture.System.Client.PublishAsync(topic, message, CancellationToken.None).AsTask(), value));
            if (inFlight.Count >= 64)
            {
                await TakeOneAsync();
            }
        }

        while (inFlight.Count > 0)
        {
            await TakeOneAsync();
        }

        async Task TakeOneAsync()
        {
            var (ack, value) = inFlight.Dequeue();
            var answer = await ack;
            lock (acknowledged)
            {
                acknowledged.Add((answer.Offset, value));
            }
        }
    }

    private static int CountOf(List<(long Offset, string Value)> acknowledged)
    {
        lock (acknowledged)
        {
            return acknowledged.Count;
        }
    }

    private static async Task WaitUntilAsync(Func<bool> condition, CancellationToken cancellationToken)
    {
        while (!condition())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), cancellationToken);
        }
    }
}
