using System.Collections.Concurrent;
using System.Diagnostics;
using Broker.Client;
using Broker.Protocol.V1;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using GroupDelivery = Broker.Protocol.V1.Delivery;

namespace Broker.Tests.Interop;

/// <summary>A consumer group under load while its consumers and the leaders of its shards are killed.</summary>
public sealed class ConsumerGroupFaultTests(ITestOutputHelper output)
{
    private const int Topics = 6;
    private const int BatchRecords = 20;
    private static readonly TimeSpan LoadTime = TimeSpan.FromSeconds(18);
    private static readonly (string, string) Shards = ("Broker__DataShards", "3");

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_record_is_settled_once_though_members_and_leaders_are_killed()
    {
        await using var brokers = new KilledBrokers();
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, Shards);
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        using (var channel = GrpcChannel.ForAddress(brokers.GrpcOf(1)))
        {
            await new Admin.AdminClient(channel).CreateGroupAsync(
                new CreateGroupRequest
                {
                    Name = "g",
                    Config = new GroupConfig { Filters = { "load.*" }, AckWaitMs = 2_000, MaxDeliveries = 1_000 },
                },
                cancellationToken: Test);
        }

        var seen = new Sightings();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var members = Enumerable.Range(0, 3).Select(at => new Member(brokers, at, seen)).ToArray();
        var consuming = members.Select(member => Task.Run(() => member.RunAsync(ending.Token), Test)).ToArray();
        var killing = Task.Run(() => KillMembersAsync(members, ending.Token), Test);
        var publishing = Task.Run(() => PublishAsync(brokers), Test);

        // The leader of something each time: every node leads one of three shards.
        foreach (var node in (int[])[2, 3, 1])
        {
            await Task.Delay(LoadTime / 5, Test);
            await brokers.KillAsync(node);
            await Task.Delay(LoadTime / 10, Test);
            brokers.Start(node, Shards);
        }

        var published = await publishing;
        var sinceLast = Stopwatch.StartNew();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        using var last = GrpcChannel.ForAddress(brokers.GrpcOf(2));
        DescribeGroupResponse? found = null;
        await Eventually.HoldsAsync(
            async () =>
            {
                found = await new Admin.AdminClient(last).DescribeGroupAsync(
                    new DescribeGroupRequest { Name = "g" }, cancellationToken: Test);
                return found.Progress.Count == Topics && found.Progress.All(static each =>
                    each.LagRecords == 0 && each.AckFloor == each.NextOffset);
            },
            () => $"all is settled: {found}",
            30);
        output.WriteLine(
            $"{published:N0} published, {seen.Deliveries:N0} deliveries, {seen.Settled:N0} settled, "
            + $"{members.Sum(static each => each.Kills)} streams cut, floor at the end after "
            + $"{sinceLast.Elapsed.TotalSeconds:N1} s");
        await ending.CancelAsync();
        await Task.WhenAll(consuming);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => killing);
        Assert.Empty(seen.AfterSettled);
        Assert.Equal(published, found!.Progress.Sum(static each => each.NextOffset));
        Assert.Equal(published, seen.Distinct);
        Assert.Equal(0, found.Group.DeadLetters);
    }

    [Fact]
    public async Task A_thousand_records_that_are_terminated_while_leaders_are_killed_are_a_thousand_dead_letters()
    {
        const int Records = 1_000;
        await using var brokers = new KilledBrokers();
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, Shards);
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var client = brokers.Connect(1, 2, 3);
        await client.CreateGroupAsync(
            "g", new GroupSettings { Filters = ["t.*"], AckWait = TimeSpan.FromSeconds(2) }, cancellationToken: Test);
        await Task.WhenAll(Enumerable.Range(0, Records).Select(number => client.PublishAsync(
            $"t.{number % Topics}",
            new BrokerMessage
            {
                Key = BitConverter.GetBytes(number),
                Value = BitConverter.GetBytes(-number),
                Headers = [new("number", BitConverter.GetBytes(number))],
            },
            Test).AsTask()));

        // Slowly enough that there is something left for each of the leaders.
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var terminating = Task.Run(
            async () =>
            {
                await using var consumer = await client.ConsumeAsync(
                    "g", new ConsumeOptions { MaxUnsettledRecords = 20 }, ending.Token);
                await foreach (var record in consumer.WithCancellation(ending.Token))
                {
                    try
                    {
                        await record.TerminateAsync("no good", ending.Token);
                        await Task.Delay(3, ending.Token);
                    }
                    catch (BrokerClientException)
                    {
                        // Whether it is a dead letter is not known: it comes again if it is none.
                    }
                }
            },
            Test);
        foreach (var node in (int[])[2, 3, 1])
        {
            await Task.Delay(1_000, Test);
            await brokers.KillAsync(node);
            await Task.Delay(1_000, Test);
            brokers.Start(node, Shards);
        }

        GroupDetails? found = null;
        await Eventually.HoldsAsync(
            async () =>
            {
                found = await client.DescribeGroupAsync("g", Test);
                return found.Progress.Sum(static each => each.AckFloor) == Records;
            },
            () => $"all is settled: {found}",
            60);
        await ending.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => terminating);

        var letters = await client.ListDeadLettersAsync("g", Test).ToListAsync(Test);
        Assert.Equal(Records, found!.Group.DeadLetters);
        Assert.Equal(Records, letters.Count);
        Assert.Equal(Records, letters.DistinctBy(static each => (each.Record.Topic, each.Record.Offset)).Count());
        Assert.Equal(Records, letters.DistinctBy(static each => NumberIn(each.Record.Key)).Count());
        Assert.All(letters, static letter =>
        {
            var (record, number) = (letter.Record, NumberIn(letter.Record.Key));
            Assert.Equal(($"t.{number % Topics}", "no good"), (record.Topic, letter.Reason));
            Assert.Equal(-number, NumberIn(record.Value));
            Assert.Equal(number, NumberIn(record.Headers.Single(static header => header.Key == "number").Value));
        });

        static int NumberIn(ReadOnlyMemory<byte> bytes) => BitConverter.ToInt32(bytes.Span);
    }

    private static async Task<long> PublishAsync(KilledBrokers brokers)
    {
        await using var client = brokers.Connect(1, 2, 3);
        var watch = Stopwatch.StartNew();
        var published = 0L;
        BrokerMessage[] batch = [.. Enumerable.Range(0, BatchRecords).Select(KilledBrokers.NumberMessage)];
        while (watch.Elapsed < LoadTime)
        {
            var acks = Enumerable.Range(0, Topics).SelectMany(topic => batch.Select(message =>
                client.PublishAsync($"load.{topic}", message, Test).AsTask()));
            await Task.WhenAll(acks);
            published += Topics * BatchRecords;
            await Task.Delay(40, Test);
        }

        return published;
    }

    private static async Task KillMembersAsync(Member[] members, CancellationToken cancellationToken)
    {
        for (var next = 0; ; next++)
        {
            await Task.Delay(1_000, cancellationToken);
            members[next % members.Length].Kill();
        }
    }

    /// <summary>What all members have got.</summary>
    private sealed class Sightings
    {
        private readonly ConcurrentDictionary<(string, long), bool> _records = new();
        private long _deliveries;

        public ConcurrentQueue<string> AfterSettled { get; } = new();

        public long Deliveries => Volatile.Read(ref _deliveries);

        public int Distinct => _records.Count;

        public int Settled => _records.Count(static each => each.Value);

        public void Came(GroupDelivery delivery)
        {
            for (var i = 0; i < delivery.Batch.Records.Count; i++)
            {
                var record = (delivery.Topic, delivery.BaseOffset + i);
                Interlocked.Increment(ref _deliveries);
                if (!_records.TryAdd(record, false) && _records[record])
                {
                    AfterSettled.Enqueue($"{record}, attempt {delivery.Attempt}");
                }
            }
        }

        public void WasSettled(GroupDelivery delivery)
        {
            for (var i = 0; i < delivery.Batch.Records.Count; i++)
            {
                _records[(delivery.Topic, delivery.BaseOffset + i)] = true;
            }
        }
    }

    /// <summary>A consumer that begins anew, at the next broker, whenever its stream ends.</summary>
    private sealed class Member(KilledBrokers brokers, int number, Sightings seen)
    {
        private AsyncDuplexStreamingCall<ConsumeRequest, ConsumeResponse>? _call;

        public int Kills { get; private set; }

        /// <summary>As when its process is killed: nothing of what it holds is given back.</summary>
        public void Kill()
        {
            Kills++;
            _call?.Dispose();
        }

        public async Task RunAsync(CancellationToken cancellationToken)
        {
            for (var at = number; !cancellationToken.IsCancellationRequested; at++)
            {
                using var channel = GrpcChannel.ForAddress(brokers.GrpcOf(1 + (at % KilledBrokers.Count)));
                try
                {
                    using var call = new Protocol.V1.Broker.BrokerClient(channel).Consume(
                        cancellationToken: cancellationToken);
                    _call = call;
                    await ConsumeAsync(call, cancellationToken);
                }
                catch (Exception cut) when (cut is RpcException or OperationCanceledException
                    or InvalidOperationException or ObjectDisposedException)
                {
                    await Task.Delay(50, CancellationToken.None);
                }
            }
        }

        private async Task ConsumeAsync(
            AsyncDuplexStreamingCall<ConsumeRequest, ConsumeResponse> call, CancellationToken cancellationToken)
        {
            await call.RequestStream.WriteAsync(
                new ConsumeRequest { Open = new ConsumeOpen { Group = "g", Consumer = $"member-{number}" } },
                cancellationToken);
            var open = new Dictionary<ulong, GroupDelivery>();
            var correlation = 0UL;
            await foreach (var response in call.ResponseStream.ReadAllAsync(cancellationToken))
            {
                if (response.Delivery is { } delivery)
                {
                    seen.Came(delivery);
                    open.Add(++correlation, delivery);
                    await call.RequestStream.WriteAsync(
                        new ConsumeRequest
                        {
                            Ack = new Ack
                            {
                                Correlation = correlation,
                                Ranges = { new DeliveredRange { Token = delivery.Token } },
                            },
                        },
                        cancellationToken);
                }
                else if (response.Settled is { } settled && open.Remove(settled.Correlation, out var finished)
                    && settled.Status == 0)
                {
                    seen.WasSettled(finished);
                }
            }
        }
    }
}
