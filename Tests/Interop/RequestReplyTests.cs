using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Requests and their replies by the client library, over real nodes.</summary>
public sealed class RequestReplyTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_request_has_its_own_reply_though_clients_share_topics()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var responder = brokers.Connect();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var replying = RespondAsync(responder, end.Token);
        var clients = Enumerable.Range(0, 3).Select(_ => brokers.Connect()).ToList();
        await Task.WhenAll(clients.SelectMany((client, at) => Enumerable.Range(0, 50).Select(async i =>
        {
            var reply = await client.RequestAsync("work", Message($"{at}.{i}"), Patience, Test);
            Assert.Equal($"{at}.{i}!", Text(reply));
        })));
        foreach (var client in clients)
        {
            await client.DisposeAsync();
        }

        // What clients leave is one of a fixed few topics, whose records go by themselves.
        var topics = (await responder.ListTopicsAsync(cancellationToken: Test)).Select(static topic => topic.Name)
            .Where(static name => name.StartsWith("broker.replies.", StringComparison.Ordinal)).ToList();
        Assert.InRange(topics.Count, 1, 3);
        Assert.Equal(
            TimeSpan.FromHours(1), (await responder.DescribeTopicAsync(topics[0], Test)).Settings.MaxAge);
        await end.CancelAsync();
        await replying;
    }

    [Fact]
    public async Task What_fails_says_why()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        var soon = TimeSpan.FromSeconds(3); // A new process makes the topic first, and a busy machine takes its time.
        var none = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.RequestAsync("work", Message("1"), soon, Test));
        Assert.Equal(BrokerClientErrorCode.NoResponder, none.Code);
        await using (await client.ConsumeAsync("slow", new ConsumeOptions { Filters = ["work"] }, Test))
        {
            var slow = await Assert.ThrowsAsync<BrokerClientException>(
                async () => await client.RequestAsync("work", Message("2"), soon, Test));
            Assert.Equal(BrokerClientErrorCode.NoReply, slow.Code);
        }

        using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var waiting = client.RequestAsync("work", Message("3"), Patience, cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await waiting);
        var bad = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.RequestAsync("work", Message("4"), TimeSpan.Zero, Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, bad.Code);
        await client.PublishAsync("plain", Message("no request"), Test);
        var record = Assert.Single(await client.FetchAsync("plain", 1, Patience, ["plain"], Test));
        bad = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await record.ReplyAsync(Message("reply"), Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, bad.Code);

        // 1,024 wait, and not one more.
        using var waited = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var many = Enumerable.Range(0, 1_024)
            .Select(_ => client.RequestAsync("work", Message("5"), 3 * Patience, waited.Token).AsTask()).ToList();
        var full = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.RequestAsync("work", Message("6"), soon, Test));
        Assert.Equal(BrokerClientErrorCode.ResourceExhausted, full.Code);
        await waited.CancelAsync();
        foreach (var each in many)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await each);
        }
    }

    [Fact]
    public async Task Replies_come_though_every_leader_is_killed()
    {
        await using var brokers = new KilledBrokers();
        brokers.StartAll();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var responder = brokers.Connect(1, 2, 3);
        await using var client = brokers.Connect(1, 2, 3);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var replying = RespondAsync(responder, end.Token);
        using var killed = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var asking = Enumerable.Range(0, 4).Select(async asker =>
        {
            var done = 0;
            while (!killed.IsCancellationRequested)
            {
                var reply = await client.RequestAsync("work", Message($"{asker}.{done}"), 3 * Patience, Test);
                Assert.Equal($"{asker}.{done++}!", Text(reply));
            }

            return done;
        }).ToList();
        foreach (var node in (int[])[1, 2, 3])
        {
            await Task.Delay(1_500, Test);
            await brokers.KillAsync(node);
            await Task.Delay(1_500, Test);
            brokers.Start(node);
            await brokers.BecomesHealthyAsync(1, 2, 3);
        }

        await killed.CancelAsync();
        Assert.All(await Task.WhenAll(asking), static done => Assert.True(done > 5, $"{done} replies came"));
        await end.CancelAsync();
        await replying;
    }

    private static async Task RespondAsync(BrokerClient client, CancellationToken end)
    {
        try
        {
            await using var consumer = await client.ConsumeAsync(
                "responders", new ConsumeOptions { Filters = ["work"] }, end);
            await foreach (var request in consumer.WithCancellation(end))
            {
                await request.ReplyAsync(Message($"{Text(request.Record)}!"), Test);
            }
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            // Nobody asks any more.
        }
    }

    private static BrokerMessage Message(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(BrokerRecord record) => Encoding.UTF8.GetString(record.Value.Span);
}
