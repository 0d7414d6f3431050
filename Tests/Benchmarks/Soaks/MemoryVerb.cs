using System.CommandLine;
using System.Globalization;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.Wire;
using Grpc.Net.Client;

namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>
/// What brokers keep in memory for records that are out and not settled, with as many gaps as can be, and for groups
/// that nobody uses. A group may have 100,000 records of a shard out (<see cref="Limits.GroupOutstandingPerShard"/>),
/// and a shard 4,000,000 settled ranges over all groups (<see cref="Limits.GroupProgressPerShard"/>), so what is to be
/// unsettled in the millions takes several groups. What a group was not given yet costs it nothing.
/// </summary>
internal static class MemoryVerb
{
    private const int Shards = 3;
    private const int SizeBytes = 16;
    private const int GapsPerGroup = Shards * Limits.GroupOutstandingPerShard;
    private const int MostGroups = Limits.GroupProgressPerShard / Limits.GroupOutstandingPerShard;
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(10);

    public static Command Create()
    {
        var groups = NumberOption.Make(
            "--groups", 4, 0, MostGroups, $"Groups with {GapsPerGroup:N0} unsettled records each; 34 have 10 million.");
        var messages = NumberOption.Make(
            "--messages", 10_000_000, 3 * GapsPerGroup, 1_000_000_000, "Messages; no group settles all of them.");
        var idle = NumberOption.Make(
            "--idle", Limits.ConsumerGroups, 0, Limits.ConsumerGroups, "Groups that nobody uses, in another cluster.");
        var command = new Command("groups-memory", "Measures the memory of unsettled records and of idle groups.")
        {
            groups, messages, idle,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var report = new SoakReport();
            if (parsed.GetValue(groups) is var count and > 0)
            {
                await InClusterAsync(cluster => UnsettledAsync(
                    cluster, count, parsed.GetValue(messages), report, cancellationToken));
            }

            if (parsed.GetValue(idle) is var unused and > 0)
            {
                await InClusterAsync(cluster => GroupVerb.IdleAsync(cluster, unused, cancellationToken));
            }

            return report.Close("What the groups say of themselves is what was done.");

            Task InClusterAsync(Func<BrokerCluster, Task> run) => BrokerCluster.InTemporaryFolderAsync(
                "memory",
                async folder =>
                {
                    await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
                    await run(cluster);
                });
        });
        return command;
    }

    private static async Task UnsettledAsync(
        BrokerCluster cluster, int groups, int messages, SoakReport report, CancellationToken cancellationToken)
    {
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        var topics = await TopicsOfAllShardsAsync(client, cancellationToken);
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        await PublishLoad.AllAsync(
            messages,
            16_384,
            number => client.PublishAsync(topics[(int)(number % topics.Count)], message, cancellationToken));
        await Task.Delay(Quiet, cancellationToken);
        var before = GroupVerb.Megabytes(cluster);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{messages:N0} messages of {SizeBytes} B are there: three brokers hold {before:N0} MB"));
        for (var number = 0; number < groups; number++)
        {
            var name = $"memory-{number}";
            await client.CreateGroupAsync(
                name,
                new GroupSettings
                {
                    Filters = ["memory.*"],
                    AckWait = TimeSpan.FromMilliseconds(Limits.GroupWaitMostMs),
                    MaxOutstanding = Limits.GroupOutstandingPerShard,
                },
                null,
                cancellationToken);
            var settled = await LeaveGapsAsync(cluster, name, cancellationToken);
            await LookAsync(client, name, messages, settled, report, cancellationToken);
        }

        await Task.Delay(Quiet, cancellationToken);
        var after = GroupVerb.Megabytes(cluster);
        var gaps = (double)groups * GapsPerGroup;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{gaps:N0} records out and not settled, each behind one that is, in {groups} groups of {Shards} shards "
            + $"(bound: {Limits.GroupOutstandingPerShard:N0} a group and shard): {after - before:N0} MB more, "
            + $"{(after - before) * 1e6 / gaps:N0} B each over three brokers; now {after:N0} MB"));
    }

    private static async Task<IReadOnlyList<string>> TopicsOfAllShardsAsync(
        BrokerClient client, CancellationToken cancellationToken)
    {
        var topics = new Dictionary<int, string>();
        for (var i = 0; topics.Count < Shards; i++)
        {
            var name = $"memory.{i}";
            await client.CreateTopicAsync(name, cancellationToken: cancellationToken);
            var shard = (int)(await client.DescribeTopicAsync(name, cancellationToken)).Topic.Shard;
            if (!topics.TryAdd(shard, name))
            {
                await client.DeleteTopicAsync(name, cancellationToken);
            }
        }

        return [.. topics.Values];
    }

    /// <summary>Acknowledges every second record until nothing more comes: all that may be out is out.</summary>
    /// <returns>How many were answered as settled.</returns>
    private static async Task<long> LeaveGapsAsync(
        BrokerCluster cluster, string group, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var channel = GrpcChannel.ForAddress(cluster.Addresses[0]);
        using var call = new Protocol.Wire.Broker.BrokerClient(channel).Consume(cancellationToken: stop.Token);
        var credit = new Credit { Records = Limits.GroupCreditRecords, Bytes = (ulong)Limits.GroupCreditBytes };
        await call.RequestStream.WriteAsync(
            new ConsumeRequest { Open = new ConsumeOpen { Group = group, Credit = credit } }, cancellationToken);
        var asked = new Dictionary<ulong, uint>();
        var (correlation, settled, turn) = (0UL, 0L, 0U);
        Task<bool>? next = null;
        while (true)
        {
            next ??= call.ResponseStream.MoveNext(stop.Token);
            if (await Task.WhenAny(next, Task.Delay(Quiet, cancellationToken)) != next)
            {
                await stop.CancelAsync();
                await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return settled;
            }

            if (!await next)
            {
                throw new InvalidOperationException($"The stream of group '{group}' ended by itself.");
            }

            next = null;
            var response = call.ResponseStream.Current;
            if (response.Settled is { Status: 0 } answer && asked.Remove(answer.Correlation, out var count))
            {
                settled += count;
            }
            else if (response.Delivery is { } delivery)
            {
                // Every second one over deliveries too: by turns, whether a delivery begins with one or not.
                var positions = Enumerable.Range(0, (int)delivery.Count).Where(at => (at + turn) % 2 == 1).ToList();
                turn = (turn + delivery.Count) % 2;
                foreach (var some in positions.Chunk(Limits.RangesPerSettle))
                {
                    var ack = new Ack { Correlation = ++correlation };
                    ack.Ranges.AddRange(some.Select(at =>
                        new DeliveredRange { Token = delivery.Token, First = (uint)at, Count = 1 }));
                    asked.Add(correlation, (uint)some.Length);
                    await call.RequestStream.WriteAsync(new ConsumeRequest { Ack = ack }, cancellationToken);
                }

                credit = new Credit { Records = delivery.Count, Bytes = (ulong)delivery.Batch.Length };
                await call.RequestStream.WriteAsync(new ConsumeRequest { Credit = credit }, cancellationToken);
            }
        }
    }

    private static async Task LookAsync(
        BrokerClient client,
        string name,
        long messages,
        long settled,
        SoakReport report,
        CancellationToken cancellationToken)
    {
        var group = await client.DescribeGroupAsync(name, cancellationToken);
        var open = group.Progress.Sum(static each => each.Outstanding + each.Waiting);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{name}: {open:N0} not settled above the floors, {settled:N0} settled, lag {group.Group.Lag:N0}"));
        if (open != GapsPerGroup || group.Group.Lag != messages - settled)
        {
            report.Wrong(
                "a group's figures are not what was done",
                $"{name}: {open:N0} of {GapsPerGroup:N0} out or waiting, lag {group.Group.Lag:N0}, "
                + $"expected {messages - settled:N0}");
        }
    }
}
