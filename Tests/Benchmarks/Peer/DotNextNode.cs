using System.CommandLine;
using System.Net;
using DotNext.Net.Cluster.Consensus.Raft;
using DotNext.Net.Cluster.Consensus.Raft.Membership;
using DotNext.Net.Cluster.Consensus.Raft.StateMachine;
using Microsoft.Extensions.Logging;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// One of three processes of a replicated log on DotNext.Net.Cluster: its TCP transport, its WriteAheadLog, its
/// recommended election timeouts. The log is all the state there is, so that it can be read back as a whole.
/// </summary>
internal static class DotNextNode
{
    public const string Verb = "peer-node";

    /// <summary>
    /// The log maps each chunk of data as a file of its own. Of the default of 4 KiB, one batch would need five.
    /// </summary>
    private const int ChunkBytes = 1 << 20;

    private static readonly Option<int> Node = new("--node") { Required = true };
    private static readonly Option<int[]> RaftPorts = new("--raft-ports")
    {
        Required = true,
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<int> ClientPort = new("--client-port") { Required = true };
    private static readonly Option<string> Data = new("--data") { Required = true };
    private static readonly Option<bool> Flushing = new("--flushing");
    private static readonly Option<WriteAheadLog.MemoryManagementStrategy> Memory = new("--memory");

    public static Command Create()
    {
        var command = new Command(Verb, "One node of the verb peer.")
        {
            Node, RaftPorts, ClientPort, Data, Flushing, Memory,
        };
        command.Hidden = true;
        command.SetAction(RunAsync);
        return command;
    }

    /// <summary>What a node of a cluster is started with.</summary>
    public static IEnumerable<string> Arguments(
        int node, int[] raftPorts, int clientPort, string data, DotNextLogKind kind) =>
    [
        Verb,
        Node.Name, $"{node}",
        RaftPorts.Name, .. raftPorts.Select(port => $"{port}"),
        ClientPort.Name, $"{clientPort}",
        Data.Name, data,
        Memory.Name, $"{kind.Memory}",
        .. kind.Flushing ? [Flushing.Name] : Array.Empty<string>(),
    ];

    private static async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var ports = parsed.GetRequiredValue(RaftPorts);
        using var logging = LoggerFactory.Create(
            builder => builder.AddSimpleConsole().SetMinimumLevel(LogLevel.Warning));
        var configuration = new RaftCluster.TcpConfiguration(Address(ports[parsed.GetValue(Node)]))
        {
            ColdStart = false,
            ConfigurationStorage = null,
            LoggerFactory = logging,
        };
        var members = ((InMemoryClusterConfigurationStorage<EndPoint>)configuration.ConfigurationStorage!)
            .CreateInitialConfigurationBuilder();
        foreach (var port in ports)
        {
            members.Add(Address(port));
        }

        members.Build();
        var options = new WriteAheadLog.Options
        {
            Location = parsed.GetRequiredValue(Data),
            ChunkSize = ChunkBytes,
            MemoryManagement = parsed.GetValue(Memory),
        };
        await using var log = parsed.GetValue(Flushing)
            ? new FlushingLog(options, new NoState())
            : new WriteAheadLog(options, new NoState());
        await using var cluster = new RaftCluster(configuration) { AuditTrail = log };
        await cluster.StartAsync(cancellationToken);
        try
        {
            await new DotNextServer(cluster, log).RunAsync(parsed.GetValue(ClientPort), cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("The node ends.");
        }

        await cluster.StopAsync(CancellationToken.None);
        return 0;
    }

    private static IPEndPoint Address(int port) => new(IPAddress.Loopback, port);

    /// <summary>Applies nothing and never makes a snapshot: the log keeps every entry.</summary>
    private sealed class NoState : IStateMachine
    {
        public ISnapshot? Snapshot => null;

        public ValueTask ReclaimGarbageAsync(long watermark, CancellationToken token) => ValueTask.CompletedTask;

        public ValueTask<long> ApplyAsync(LogEntry entry, CancellationToken token) => ValueTask.FromResult(entry.Index);
    }
}

/// <summary>Which of its logs a DotNext cluster has.</summary>
internal sealed record DotNextLogKind(bool Flushing, WriteAheadLog.MemoryManagementStrategy Memory);
