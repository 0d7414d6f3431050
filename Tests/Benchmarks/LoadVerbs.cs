using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.Json;
using Broker.Client;
using Broker.Domain;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// The verbs by which a harness drives this broker beside others, see docs/BENCHMARKS.md. Each prints one line of JSON.
/// </summary>
internal static class LoadVerbs
{
    private static readonly TimeSpan LeaderDeadline = TimeSpan.FromSeconds(60);

    private static readonly Option<Uri[]> Addresses = new("--addresses")
    {
        Description = "Base addresses of the brokers' gRPC endpoints, comma-separated, in the order of the nodes.",
        Required = true,
        CustomParser = ParseAddresses,
    };

    private static readonly Option<string> Stream = new("--stream") { Description = "The topic.", Required = true };
    private static readonly Option<int> Size =
        NumberOption.Make("--size", 128, 0, Limits.RecordBytes, "Bytes of a message.");

    private static readonly Option<int> Window =
        NumberOption.Make("--window", 1, 1, 1_000_000, "Unanswered publishes at a time.");

    private static readonly Option<double> Secs = NumberOption.Seconds(5, "Seconds of load.");
    private static readonly Option<double> Start =
        NumberOption.Make("--start", 0.0, 0, 1e10, "Wall-clock second (Unix time) to begin at.");

    private static readonly Option<double> Rate =
        NumberOption.Make("--rate", 1_000.0, 0.1, 10_000_000, "Messages a second (e2e).");

    private static readonly Option<long> Msgs =
        NumberOption.Make("--msgs", 100_000L, 1, 1_000_000_000_000, "Messages to read (consume).");

    private static readonly Option<int> Connect =
        NumberOption.Make("--connect", -1, -1, 63, "Index of the node to name first; -1: as they are named.");

    private static readonly Option<int> Records =
        NumberOption.Make("--batch-records", 0, 0, 16_384, "Messages a request; 0: the client chooses.");

    private static readonly Option<string[]> Ignored = new("--key", "--leader", "--how", "--replicas", "--batch")
    {
        Description = "Taken and not used: the client finds the leader, and every topic has three replicas.",
    };

    public static IEnumerable<Command> Create() =>
    [
        Verb("setup", "Makes the topic by publishing one message; prints its leader.", LeaderAsync),
        Verb("leader", "Prints the index of the node that leads the topic.", LeaderAsync),
        Verb("delete", "Deletes the topics; prints how many there were.", DeleteAsync),
        Verb("sync", "Publishes one at a time.", Load(PublishLoad.OneAtATimeAsync)),
        Verb("async", "Publishes as fast as the window allows.", Load(PublishLoad.PipelinedAsync)),
        Verb("consume", "Reads the topic from its beginning.", Load(ReadLoad.RunAsync, warm: false)),
        Verb("e2e", "Publishes at a rate and reads at the tail.", Load(EndToEndLoad.RunAsync)),
        Verb("failover", "Publishes one at a time; prints the longest silence.", Load(FailoverLoad.RunAsync)),
    ];

    private static Command Verb(
        string name, string description, Func<LoadSettings, ParseResult, CancellationToken, Task<string>> run)
    {
        var command = new Command(name, description)
        {
            Addresses, Stream, Size, Window, Secs, Start, Rate, Msgs, Connect, Records, Ignored,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            if (parsed.GetRequiredValue(Addresses).Length is var count && parsed.GetValue(Connect) >= count)
            {
                await Console.Error.WriteLineAsync(
                    $"--connect is {parsed.GetValue(Connect)}; --addresses names {count}, counted from 0.");
                return 1;
            }

            await Console.Out.WriteLineAsync(await run(Settings(parsed), parsed, cancellationToken));
            return 0;
        });
        return command;
    }

    private static Uri[] ParseAddresses(ArgumentResult result)
    {
        var texts = result.Tokens.SelectMany(static token => token.Value.Split(',')).ToList();
        foreach (var text in texts.Where(text => !Uri.TryCreate(text, UriKind.Absolute, out var address)
            || address.Scheme is not ("http" or "https")))
        {
            result.AddError(
                $"--addresses holds '{text}'; expected base addresses such as http://localhost:7001, with commas "
                + "between them.");
            return [];
        }

        return [.. texts.Select(static text => new Uri(text))];
    }

    private static LoadSettings Settings(ParseResult parsed)
    {
        var addresses = parsed.GetRequiredValue(Addresses);
        if (parsed.GetValue(Connect) is var connect and >= 0)
        {
            addresses = [addresses[connect], .. addresses.Where((_, i) => i != connect)];
        }

        return new LoadSettings
        {
            Addresses = addresses,
            Topics = [parsed.GetRequiredValue(Stream)],
            SizeBytes = parsed.GetValue(Size),
            Window = parsed.GetValue(Window),
            Duration = TimeSpan.FromSeconds(parsed.GetValue(Secs)),
            Rate = parsed.GetValue(Rate),
            Messages = parsed.GetValue(Msgs),
            RecordsPerBatch = parsed.GetValue(Records),
        };
    }

    private static Func<LoadSettings, ParseResult, CancellationToken, Task<string>> Load(
        Func<LoadSettings, BrokerClient, CancellationToken, Task<LoadResult>> run, bool warm = true) =>
        async (settings, parsed, cancellationToken) =>
        {
            await using var client = settings.Connect();
            if (warm)
            {
                await PublishLoad.WarmUpAsync(settings, client, cancellationToken);
            }

            var start = DateTimeOffset.UnixEpoch.AddSeconds(parsed.GetValue(Start));
            var wait = start - TimeProvider.System.GetUtcNow();
            if (wait > TimeSpan.Zero)
            {
                await Task.Delay(wait, cancellationToken);
            }

            return (await run(settings, client, cancellationToken)).ToJson();
        };

    private static async Task<string> LeaderAsync(
        LoadSettings settings, ParseResult parsed, CancellationToken cancellationToken)
    {
        await using var client = settings.Connect();
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(LeaderDeadline);
        if (parsed.CommandResult.Command.Name == "setup")
        {
            await client.PublishAsync(settings.Topics[0], new BrokerMessage(), deadline.Token);
        }

        var leader = await FindLeaderAsync(client, settings.Topics[0], deadline.Token);
        return JsonSerializer.Serialize(new Dictionary<string, int> { ["leader"] = leader });
    }

    private static async Task<string> DeleteAsync(
        LoadSettings settings, ParseResult parsed, CancellationToken cancellationToken)
    {
        await using var client = settings.Connect();
        var deleted = 0;
        foreach (var topic in settings.Topics)
        {
            deleted += await client.DeleteTopicAsync(topic, cancellationToken) ? 1 : 0;
        }

        return JsonSerializer.Serialize(new Dictionary<string, int> { ["deleted"] = deleted });
    }

    /// <summary>The index of the node that leads a topic's shard.</summary>
    public static async Task<int> FindLeaderAsync(
        BrokerClient client, string topic, CancellationToken cancellationToken)
    {
        while (true)
        {
            var topics = await client.ListTopicsAsync(topic, cancellationToken);
            if (topics.Count == 1)
            {
                var cluster = await client.DescribeClusterAsync(cancellationToken);
                if (cluster.Shards.FirstOrDefault(each => each.Shard == topics[0].Shard) is { Leader: > 0 } shard)
                {
                    return shard.Leader - 1;
                }
            }

            await Task.Delay(50, cancellationToken);
        }
    }
}
