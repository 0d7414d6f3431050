using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;
using Broker.Protocol.Wire;
using Grpc.Net.Client;
using Contract = Broker.Protocol.V1;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What a consumer group delivers and settles: a backlog by one member and by eight, and what groups cost that nobody
/// uses.
/// </summary>
internal static class GroupVerb
{
    private const int Topics = 6;
    private const int WarmMessages = 1_000_000;
    private const int SizeBytes = 128;
    private const int IdleGroups = 900;
    private const uint CreditRecords = 8_000;
    private const ulong CreditBytes = 16 * 1024 * 1024;
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(20);

    public static Command Create()
    {
        var messages = NumberOption.Make(
            "--messages", 1_000_000, 1_000, int.MaxValue, "Messages that wait when consuming begins.");
        var rounds = NumberOption.Rounds(3, "Rounds of each measure.");
        var command = new Command("groups", "Measures what a consumer group delivers and settles, and idle groups.")
        {
            messages, rounds,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            await BrokerCluster.InTemporaryFolderAsync("groups", folder => RunAsync(
                folder, parsed.GetValue(messages), parsed.GetValue(rounds), cancellationToken));
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(string folder, int messages, int rounds, CancellationToken cancellationToken)
    {
        await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        await LoadAsync(client, messages, cancellationToken);
        var table = new ResultTable();
        for (var round = 0; round < rounds; round++)
        {
            foreach (var members in (int[])[1, 8])
            {
                var cpu = cluster.CpuSeconds();
                var begun = Stopwatch.GetTimestamp();
                await ConsumeAsync(cluster, $"g-{members}-{round}", members, messages, cancellationToken);
                var took = Stopwatch.GetElapsedTime(begun);
                table.Add(
                    $"consume and ack, {members} member(s)",
                    new LoadResult
                    {
                        Mode = "groups",
                        Messages = messages,
                        Seconds = took.TotalSeconds,
                        SizeBytes = SizeBytes,
                    },
                    cluster.CpuSeconds() - cpu,
                    missing: 0);
            }
        }

        Console.WriteLine(table.ToMarkdown());
        await IdleAsync(cluster, IdleGroups, cancellationToken);
    }

    private static Task LoadAsync(BrokerClient client, int messages, CancellationToken cancellationToken)
    {
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        return PublishLoad.AllAsync(messages, 16_384, number => client.PublishAsync(
            $"groups.{number % Topics}", message, cancellationToken));
    }

    /// <summary>Until all is settled, by the answers to acks.</summary>
    private static async Task ConsumeAsync(
        BrokerCluster cluster, string group, int members, long messages, CancellationToken cancellationToken)
    {
        using var channel = GrpcChannel.ForAddress(cluster.Addresses[0]);
        await new Contract.Admin.AdminClient(channel).CreateGroupAsync(
            new Contract.CreateGroupRequest
            {
                Name = group,
                Config = new Contract.GroupConfig { Filters = { "groups.*" } },
            },
            cancellationToken: cancellationToken);
        var (left, deliveries) = (messages, 0L);
        using var done = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = Enumerable.Range(0, members).Select(member => Task.Run(() => MemberAsync(
            cluster.Addresses[member % BrokerCluster.Nodes],
            group,
            CreditRecords / (uint)members,
            _ => Interlocked.Increment(ref deliveries),
            count =>
            {
                if (Interlocked.Add(ref left, -count) <= 0)
                {
                    done.Cancel();
                }
            },
            done.Token))).ToArray();
        await Task.WhenAll(running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Console.Error.WriteLineAsync($"{group}: {deliveries} deliveries");
        if (left > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new InvalidOperationException(
                $"{left} messages were not settled.", running.First(static each => each.IsFaulted).Exception);
        }
    }

    /// <summary>
    /// A member that speaks the contract itself and acknowledges each delivery, which holds as many records as were
    /// stored together, by one request. Ends by its token.
    /// </summary>
    /// <param name="address">Of a broker.</param>
    /// <param name="group">An existing group.</param>
    /// <param name="creditRecords">Records that may be on their way.</param>
    /// <param name="received">Is given the records of each delivery.</param>
    /// <param name="settled">Is given the records of each answered acknowledgement.</param>
    /// <param name="stop">Ends it.</param>
    public static async Task MemberAsync(
        Uri address,
        string group,
        uint creditRecords,
        Action<uint> received,
        Action<uint> settled,
        CancellationToken stop)
    {
        using var own = GrpcChannel.ForAddress(address);
        using var call = new Protocol.Wire.Broker.BrokerClient(own).Consume(cancellationToken: stop);
        var requests = call.RequestStream;
        var credit = new Credit { Records = creditRecords, Bytes = CreditBytes };
        await requests.WriteAsync(
            new ConsumeRequest { Open = new ConsumeOpen { Group = group, Credit = credit } }, stop);
        var open = new Dictionary<ulong, uint>();
        var (correlation, given) = (0UL, 0U);
        while (await call.ResponseStream.MoveNext(stop))
        {
            var response = call.ResponseStream.Current;
            if (response.Delivery is { } delivery)
            {
                open.Add(++correlation, delivery.Count);
                received(delivery.Count);
                var ack = new Ack
                {
                    Correlation = correlation,
                    Ranges = { new DeliveredRange { Token = delivery.Token } },
                };
                await requests.WriteAsync(new ConsumeRequest { Ack = ack }, stop);
            }
            else if (response.Settled is { Status: 0 } answer && open.Remove(answer.Correlation, out var count))
            {
                settled(count);
            }

            // Whoever works in batches gives credit back in batches.
            given += response.Delivery?.Count ?? 0;
            if (given >= credit.Records / 4)
            {
                await requests.WriteAsync(
                    new ConsumeRequest { Credit = new Credit { Records = given, Bytes = given * SizeBytes * 2 } },
                    stop);
                given = 0;
            }
        }
    }

    /// <summary>What so many groups cost that nobody uses.</summary>
    public static async Task IdleAsync(BrokerCluster cluster, int groups, CancellationToken cancellationToken)
    {
        using var channel = GrpcChannel.ForAddress(cluster.Addresses[0]);
        var admin = new Contract.Admin.AdminClient(channel);

        // Code that is compiled and heaps that have grown are there before: what counts is what idle groups add.
        await using (var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses }))
        {
            await LoadAsync(client, WarmMessages, cancellationToken);
        }

        await MakeAsync("before", groups);
        for (var i = 0; i < groups; i++)
        {
            await admin.DeleteGroupAsync(
                new Contract.DeleteGroupRequest { Name = $"before-{i}" }, cancellationToken: cancellationToken);
        }

        var (cpuBefore, _) = await RestAsync(cluster, cancellationToken);
        var memoryBefore = Megabytes(cluster);
        await MakeAsync("idle", groups);
        var (cpuAfter, seconds) = await RestAsync(cluster, cancellationToken);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{groups} idle groups: {100 * (cpuAfter - cpuBefore) / seconds:N2} % of a core more than without "
            + $"({100 * cpuBefore / seconds:N2} %), {Megabytes(cluster) - memoryBefore:N0} MB more in all brokers"));

        async Task MakeAsync(string name, int count)
        {
            for (var i = 0; i < count; i++)
            {
                await admin.CreateGroupAsync(
                    new Contract.CreateGroupRequest
                    {
                        Name = $"{name}-{i}",
                        Config = new Contract.GroupConfig { Filters = { $"idle.{i}.>" } },
                    },
                    cancellationToken: cancellationToken);
            }
        }
    }

    /// <summary>What the brokers use while nothing happens, when what came before has settled.</summary>
    private static async Task<(double CpuSeconds, double Seconds)> RestAsync(
        BrokerCluster cluster, CancellationToken cancellationToken)
    {
        await Task.Delay(IdleTime / 2, cancellationToken);
        var before = cluster.CpuSeconds();
        await Task.Delay(IdleTime, cancellationToken);
        return (cluster.CpuSeconds() - before, IdleTime.TotalSeconds);
    }

    public static double Megabytes(BrokerCluster cluster) =>
        Enumerable.Range(0, BrokerCluster.Nodes).Sum(cluster.ResidentMegabytes);
}
