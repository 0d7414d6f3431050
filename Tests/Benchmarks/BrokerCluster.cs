using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Three brokers as processes of this machine, on free loopback ports, with fresh data.</summary>
internal sealed class BrokerCluster : IAsyncDisposable
{
    public const int Nodes = 3;

    /// <summary>Long enough to open a log of many gigabytes.</summary>
    private static readonly TimeSpan StartDeadline = TimeSpan.FromMinutes(5);

    private readonly string[] _command;
    private readonly string _folder;
    private readonly (string Key, string Value)[] _settings;
    private readonly NodeProcesses _processes;
    private readonly int[] _httpPorts;
    private readonly int[] _grpcPorts;
    private readonly int[] _peerPorts;

    private BrokerCluster(string[] command, string folder, (string Key, string Value)[] settings)
    {
        _command = command;
        _folder = folder;
        _settings = settings;
        _processes = new NodeProcesses(folder, Nodes);
        var ports = FreePorts.Take(3 * Nodes);
        _httpPorts = ports[..Nodes];
        _grpcPorts = ports[Nodes..(2 * Nodes)];
        _peerPorts = ports[(2 * Nodes)..];
    }

    /// <summary>Runs something with a folder of its own, which is deleted at the end.</summary>
    public static async Task InTemporaryFolderAsync(string purpose, Func<string, Task> run)
    {
        var folder = Directory.CreateTempSubdirectory($"broker-{purpose}-");
        try
        {
            await run(folder.FullName);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    public IReadOnlyList<Uri> HttpAddresses => [.. _httpPorts.Select(port => new Uri($"http://127.0.0.1:{port}"))];

    public IReadOnlyList<Uri> Addresses => [.. _grpcPorts.Select(port => new Uri($"http://127.0.0.1:{port}"))];

    /// <param name="command">What dotnet runs: a broker's DLL, and arguments.</param>
    /// <param name="folder">Where the nodes keep data and logs.</param>
    /// <param name="cancellationToken">Gives up waiting for the nodes.</param>
    /// <param name="settings">Environment variables of each broker, beside what it needs to run here.</param>
    public static async Task<BrokerCluster> StartAsync(
        string[] command,
        string folder,
        CancellationToken cancellationToken,
        params (string Key, string Value)[] settings)
    {
        var cluster = new BrokerCluster(command, folder, settings);
        try
        {
            await cluster.StartAsync([.. Enumerable.Range(0, Nodes)], cancellationToken);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>This build's brokers, each shard led where it stays: see <see cref="WaitForBalanceAsync"/>.</summary>
    public static async Task<BrokerCluster> StartBalancedAsync(
        string folder, CancellationToken cancellationToken, params (string Key, string Value)[] settings)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        var cluster = await StartAsync([broker], folder, cancellationToken, settings);
        try
        {
            await cluster.WaitForBalanceAsync(cancellationToken);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts nodes; each of them is healthy and each group has a leader when it returns.</summary>
    public async Task StartAsync(int[] nodes, CancellationToken cancellationToken)
    {
        foreach (var node in nodes)
        {
            Start(node);
        }

        foreach (var node in nodes)
        {
            await WaitUntilHealthyAsync(node, cancellationToken);
        }

        await WaitForLeadersAsync(cancellationToken);
    }

    /// <summary>Processor seconds that the running brokers have used since they started.</summary>
    public double CpuSeconds() => _processes.CpuSeconds();

    /// <summary>Megabytes of memory that a node holds now.</summary>
    public double ResidentMegabytes(int node) => _processes.ResidentMegabytes(node);

    /// <summary>The same, of the three nodes on the average.</summary>
    public double MeanMegabytes() => Enumerable.Range(0, Nodes).Average(ResidentMegabytes);

    public Task KillAsync(int node) => _processes.KillAsync(node);

    public Task KillAllAsync() => _processes.KillAsync([.. Enumerable.Range(0, Nodes)]);

    public void Start(int node)
    {
        var name = $"broker-{node + 1}";
        var environment = new Dictionary<string, string>
        {
            ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{_httpPorts[node]}",
            ["Broker__GrpcPort"] = _grpcPorts[node].ToString(CultureInfo.InvariantCulture),
            ["Broker__PeerPort"] = _peerPorts[node].ToString(CultureInfo.InvariantCulture),
            ["Broker__NodeName"] = name,
            ["Broker__DataDirectory"] = Path.Combine(_folder, name, "data"),
            ["Logging__LogLevel__Default"] = "Warning",
        };
        for (var peer = 0; peer < Nodes; peer++)
        {
            environment[$"services__broker-{peer + 1}__grpc__0"] = $"http://127.0.0.1:{_grpcPorts[peer]}";
            environment[$"services__broker-{peer + 1}__peer__0"] = $"http://127.0.0.1:{_peerPorts[peer]}";
        }

        foreach (var (key, value) in _settings)
        {
            environment[key] = value;
        }

        _processes.Start(node, name, _command, environment);
    }

    /// <summary>Waits until a node's /health answers 200.</summary>
    public async Task WaitUntilHealthyAsync(int node, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(StartDeadline);
        using var http = new HttpClient();
        while (!await IsHealthyAsync(http, _httpPorts[node], deadline.Token))
        {
            _processes.ThrowIfEnded(node);
            await Task.Delay(10, deadline.Token);
        }
    }

    /// <summary>Waits until every group has a leader.</summary>
    public Task WaitForLeadersAsync(CancellationToken cancellationToken) =>
        WaitForShardsAsync(static group => group.Leader != 0, cancellationToken);

    /// <summary>
    /// Waits until each group's leader is the node where the brokers want it to be, so that it stays there: a leader
    /// that moves within a measurement costs it a few answers.
    /// </summary>
    public Task WaitForBalanceAsync(CancellationToken cancellationToken) =>
        WaitForShardsAsync(shard => shard.Leader == (shard.Shard % _httpPorts.Length) + 1, cancellationToken);

    public ValueTask DisposeAsync() => _processes.DisposeAsync();

    private async Task WaitForShardsAsync(Predicate<ShardInfo> isAsWanted, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(StartDeadline);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = Addresses });
        while ((await client.DescribeClusterAsync(deadline.Token)).Shards is var shards
            && (shards.Count < 2 || !shards.All(shard => isAsWanted(shard))))
        {
            await Task.Delay(50, deadline.Token);
        }
    }

    private static async Task<bool> IsHealthyAsync(HttpClient http, int port, CancellationToken cancellationToken)
    {
        try
        {
            using var response = await http.GetAsync(new Uri($"http://127.0.0.1:{port}/health"), cancellationToken);
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }
}
