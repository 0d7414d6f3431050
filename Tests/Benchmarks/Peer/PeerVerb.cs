using System.CommandLine;
using System.Reflection;
using DotNext.Net.Cluster.Consensus.Raft;
using DotNext.Net.Cluster.Consensus.Raft.StateMachine;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// The same loads for our brokers and for a replicated log on DotNext.Net.Cluster, the best-known Raft library of
/// .NET: three processes each, side by side. In each round every log is measured once, one after the other.
/// </summary>
internal static class PeerVerb
{
    private const string Ours = "broker";
    private const string Failover = "failover";
    private const string Kill = "kill";

    private static readonly LogLoad[] Loads = [LogLoad.Batched, LogLoad.Unanswered, LogLoad.Single];

    private static readonly Option<int> Rounds =
        new("--rounds") { Description = "Rounds; medians and sums are told.", DefaultValueFactory = _ => 3 };

    private static readonly Option<double> Seconds =
        new("--seconds") { Description = "Seconds of each load.", DefaultValueFactory = _ => 2 };

    private static readonly Option<string[]> Only = ChoiceOption.Make(
        "--only", "What to measure. Default: everything.", [.. Loads.Select(load => load.Name), Failover, Kill]);

    private static readonly Option<string[]> Logs =
        ChoiceOption.Make("--logs", "Which logs to measure. Default: all.", ["dotnext", "dotnext-flushing", Ours]);

    private static readonly Option<WriteAheadLog.MemoryManagementStrategy> Memory =
        new("--memory") { Description = "MemoryManagement of DotNext's log. Default: its own." };

    private static readonly Option<DirectoryInfo> Work = new("--work")
    {
        Description = "Where the nodes keep their data. Default: a temporary folder.",
        DefaultValueFactory = _ => Directory.CreateTempSubdirectory("broker-peer-"),
    };

    public static IEnumerable<Command> Create()
    {
        var command = new Command("peer", "Measures our brokers and DotNext.Net.Cluster side by side.")
        {
            Rounds, Seconds, Only, Logs, Memory, Work,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var folder = parsed.GetRequiredValue(Work);
            try
            {
                return await RunAsync(parsed, folder.FullName, cancellationToken);
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
        return [command, DotNextNode.Create()];
    }

    private static async Task<int> RunAsync(ParseResult parsed, string folder, CancellationToken cancellationToken)
    {
        var only = parsed.GetRequiredValue(Only);
        var duration = TimeSpan.FromSeconds(parsed.GetValue(Seconds));
        var logs = Contenders(parsed.GetValue(Memory))
            .Where(log => parsed.GetRequiredValue(Logs).Contains(log.Key)).ToList();
        var table = new PeerTable([.. logs.Select(log => log.Name)]);
        for (var round = 0; round < parsed.GetValue(Rounds); round++)
        {
            foreach (var log in logs)
            {
                await Console.Error.WriteLineAsync($"Round {round + 1}: {log.Name}");
                if (only.Any(what => what != Kill))
                {
                    await MeasureAsync(log, table, only, duration, Path.Combine(folder, "loads"), cancellationToken);
                }

                if (only.Contains(Kill))
                {
                    await KillAsync(log, table, LogLoad.Unanswered, duration, folder, cancellationToken);
                    await KillAsync(log, table, LogLoad.Batched, duration, folder, cancellationToken);
                }
            }
        }

        await Console.Out.WriteLineAsync(table.ToMarkdown());
        return logs.Where(log => log.Key == Ours).All(log => table.Gone(log.Name) == 0) ? 0 : 1;
    }

    private static async Task MeasureAsync(
        Contender contender,
        PeerTable table,
        string[] only,
        TimeSpan duration,
        string folder,
        CancellationToken cancellationToken)
    {
        await using (var log = await contender.StartAsync(folder, true, cancellationToken))
        {
            foreach (var load in Loads.Where(load => only.Contains(load.Name)))
            {
                table.Add(contender.Name, Tell(load), await log.LoadAsync(load, duration, cancellationToken));
                if (load == LogLoad.Unanswered && log is BrokerLog ours)
                {
                    table.Add(
                        contender.Name,
                        $"{Tell(load)}, one message a request and an entry, 64 topics",
                        await ours.UngatheredAsync(load, duration, cancellationToken));
                }
            }

            if (only.Contains(Failover))
            {
                table.Add(
                    contender.Name,
                    "longest silence after kill -9 of the leader",
                    await log.FailoverAsync(cancellationToken));
            }
        }

        Directory.Delete(folder, recursive: true);
    }

    /// <summary>A fresh cluster for each kill: nothing that an earlier one has left can be mistaken for it.</summary>
    private static async Task KillAsync(
        Contender contender,
        PeerTable table,
        LogLoad load,
        TimeSpan duration,
        string folder,
        CancellationToken cancellationToken)
    {
        var data = Path.Combine(folder, Kill);
        await using (var log = await contender.StartAsync(data, false, cancellationToken))
        {
            var result = await log.KillAllAsync(load, duration, cancellationToken);
            await Console.Error.WriteLineAsync($"  {load.Name}: {result.Gone:N0} of {result.Acknowledged:N0} gone");
            table.Add(
                contender.Name, $"kill -9 of all three, {Tell(load)}: records acknowledged and then gone", result);
        }

        Directory.Delete(data, recursive: true);
    }

    private static string Tell(LogLoad load) => load switch
    {
        { Window: 1 } => $"{LogLoad.RecordBytes} B, one at a time",
        { RecordsPerEntry: 1 } => $"{LogLoad.RecordBytes} B, {load.Window:N0} unanswered",
        _ => $"{LogLoad.RecordBytes} B in batches of {load.RecordsPerEntry}, {load.Window} batches unanswered",
    };

    private static Contender[] Contenders(WriteAheadLog.MemoryManagementStrategy memory)
    {
        var version = typeof(RaftCluster).Assembly
            .GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];
        return
        [
            new("dotnext", $"DotNext {version}, as it comes", DotNext(new DotNextLogKind(false, memory))),
            new(
                "dotnext-flushing",
                $"DotNext {version}, flushed before it answers",
                DotNext(new DotNextLogKind(true, memory))),
            new(Ours, "our brokers", async (folder, balanced, cancellationToken) =>
                await BrokerLog.StartAsync(folder, balanced, cancellationToken)),
        ];
    }

    private static Func<string, bool, CancellationToken, Task<IReplicatedLog>> DotNext(DotNextLogKind kind) =>
        async (folder, _, cancellationToken) => await DotNextLog.StartAsync(folder, kind, cancellationToken);

    /// <param name="Key">For --logs.</param>
    /// <param name="Name">For the table.</param>
    /// <param name="StartAsync">Starts it in a folder; true: wait until leaders are where they stay.</param>
    private sealed record Contender(
        string Key, string Name, Func<string, bool, CancellationToken, Task<IReplicatedLog>> StartAsync);
}
