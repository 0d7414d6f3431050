using System.CommandLine;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>
/// Our brokers beside those of others that are installed here: the same loads, by the client library of each, in turns.
/// All at once would be unfair on few processors, so in each round each is started, measured and ended; the order is
/// turned round each time, so that a slow change of the machine falls on all.
/// </summary>
internal static class AnchorsVerb
{
    private static readonly string[] Keys = ["broker", "nats", "nats-flushing", "rabbitmq", "dotnext"];

    private static readonly Option<int> Rounds = NumberOption.Rounds(3);
    private static readonly Option<double> Seconds = NumberOption.Seconds(2, "Seconds of each load.");
    private static readonly Option<int> Size =
        NumberOption.Make("--size", 128, 8, 1024 * 1024, "Bytes of a message.");

    private static readonly Option<int> Backlog = NumberOption.Make(
        "--backlog", 300_000, 1_000, 100_000_000, "Most messages that wait for a group; as many as --secs take.");

    private static readonly Option<double> Warm =
        NumberOption.Make("--warm", 2.0, 0.1, 600, "Seconds of load before the measures of each start.");

    private static readonly Option<string[]> Systems =
        ChoiceOption.Make("--systems", "What to measure. Default: all that is installed.", Keys);

    private static readonly Option<string[]> Only = ChoiceOption.Make(
        "--only", "Which rows. Default: all.", [.. AnchorMeasure.All.Select(static measure => measure.Key)]);

    private static readonly Option<string?> NatsServer =
        new("--nats-server") { Description = "The program. Default: nats-server of the path." };

    private static readonly Option<string?> RabbitMq = new("--rabbitmq")
    {
        Description = "The folder of rabbitmq-server and rabbitmqctl. Default: Debian's, or that of the path.",
    };

    private static readonly Option<DirectoryInfo?> Work =
        new("--work") { Description = "Where the nodes keep their data. Default: a temporary folder." };

    public static Command Create()
    {
        var command = new Command("anchors", "Measures our brokers beside NATS, RabbitMQ and DotNext, in turns.")
        {
            Rounds, Seconds, Size, Backlog, Warm, Systems, Only, NatsServer, RabbitMq, Work,
        };
        command.Aliases.Add("--anchors");
        command.SetAction(async (parsed, cancellationToken) =>
        {
            if (parsed.GetValue(Work) is { } work)
            {
                work.Create();
                return await RunAsync(parsed, work.CreateSubdirectory("anchors").FullName, cancellationToken);
            }

            var code = 1;
            await BrokerCluster.InTemporaryFolderAsync("anchors", async folder =>
                code = await RunAsync(parsed, folder, cancellationToken));
            return code;
        });
        return command;
    }

    private static async Task<int> RunAsync(ParseResult parsed, string folder, CancellationToken cancellationToken)
    {
        var systems = Installed(parsed);
        var run = new AnchorRun(
            parsed.GetValue(Size),
            TimeSpan.FromSeconds(parsed.GetValue(Seconds)),
            TimeSpan.FromSeconds(parsed.GetValue(Warm)),
            parsed.GetValue(Backlog));
        var measures = AnchorMeasure.All.Where(each => parsed.GetRequiredValue(Only).Contains(each.Key)).ToList();
        var rounds = parsed.GetValue(Rounds);
        for (var round = 0; round < rounds; round++)
        {
            foreach (var system in round % 2 == 0 ? systems : Enumerable.Reverse(systems))
            {
                await Console.Error.WriteLineAsync($"round {round + 1} of {rounds}: {system.Name}");
                var data = Directory.CreateDirectory(Path.Combine(folder, $"{system.Key}-{round}"));
                await run.MeasureAsync(system, data.FullName, measures, cancellationToken);
                data.Delete(recursive: true);
            }
        }

        Console.WriteLine(run.ToMarkdown(measures, systems));
        return run.IsComplete ? 0 : 1;
    }

    /// <summary>What can be measured here; what cannot is named, with what would change that.</summary>
    private static List<AnchorSystem> Installed(ParseResult parsed)
    {
        var wanted = parsed.GetRequiredValue(Systems);
        var systems = new List<AnchorSystem> { new("broker", "our brokers", BrokerAnchor.StartAsync) };
        if ((parsed.GetValue(NatsServer) ?? Find("nats-server")) is { } nats)
        {
            var version = NatsAnchor.VersionOf(nats);
            systems.Add(new(
                "nats",
                $"NATS {version}, as shipped",
                (folder, token) => NatsAnchor.StartAsync(nats, folder, flushes: false, token)));
            systems.Add(new(
                "nats-flushing",
                $"NATS {version}, {NatsAnchor.HowItFlushes(version)}",
                (folder, token) => NatsAnchor.StartAsync(nats, folder, flushes: true, token)));
        }
        else
        {
            Missing("NATS", "apt-get install nats-server, or --nats-server PROGRAM for a newer one");
        }

        if ((parsed.GetValue(RabbitMq) ?? Folder(RabbitMqAnchor.DebianFolder) ?? Path.GetDirectoryName(
            Find("rabbitmqctl"))) is { } rabbit && Find("epmd") is not null)
        {
            systems.Add(new(
                "rabbitmq",
                $"RabbitMQ {RabbitMqAnchor.VersionOf(rabbit)}, quorum queues",
                (folder, token) => RabbitMqAnchor.StartAsync(rabbit, folder, token)));
        }
        else
        {
            Missing("RabbitMQ", "apt-get install rabbitmq-server");
        }

        systems.Add(new("dotnext", DotNextAnchor.Name, DotNextAnchor.StartAsync));
        return [.. systems.Where(system => wanted.Contains(system.Key))];

        void Missing(string name, string how)
        {
            if (wanted.Any(key => key.StartsWith(name, StringComparison.OrdinalIgnoreCase)))
            {
                Console.WriteLine($"{name} is not installed here and is left out ({how}; its service need not run).");
            }
        }
    }

    private static string? Folder(string path) => Directory.Exists(path) ? path : null;

    private static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator)
        .Append("/usr/sbin")
        .Select(folder => Path.Combine(folder, program))
        .FirstOrDefault(File.Exists);
}

/// <param name="Key">For --systems.</param>
/// <param name="Name">For the table.</param>
/// <param name="StartAsync">Starts three nodes in a folder.</param>
internal sealed record AnchorSystem(
    string Key, string Name, Func<string, CancellationToken, Task<IAnchor>> StartAsync);
