using System.Collections.Concurrent;
using System.Diagnostics;
using Broker.Client;
using Broker.Domain;

namespace Broker.Tests.Scenarios;

/// <summary>
/// Brokers as processes of their own, numbered from 1 in the order in which they are made, each with its ports, its
/// folder and the lines that it prints. The first ones form a cluster; those made later join it, or wait to be added.
/// </summary>
internal sealed class Brokers(int founders, int shards = 1) : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly DirectoryInfo _home = Directory.CreateTempSubdirectory("broker-scenario-");
    private readonly ConcurrentDictionary<int, Process> _processes = new();
    private readonly ConcurrentDictionary<int, ConcurrentQueue<string>> _lines = new();
    private readonly ConcurrentDictionary<int, (int Http, int Grpc, int Peer)> _ports = new();
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(5) };

    /// <summary>Settings that every broker starts with.</summary>
    public IReadOnlyList<(string Key, string Value)> Settings { get; init; } = [];

    /// <summary>Broker__Roles of those nodes that have it.</summary>
    public IReadOnlyDictionary<int, string> Roles { get; init; } = new Dictionary<int, string>();

    /// <summary>Hears each line that a broker prints.</summary>
    public Action<int, string>? Heard { get; set; }

    public string FolderOf(int node) => Path.Combine(_home.FullName, $"{node}");

    public Uri GrpcOf(int node) => new($"http://127.0.0.1:{PortsOf(node).Grpc}");

    /// <summary>Where JSON over HTTP is spoken, and health is told.</summary>
    public Uri HttpOf(int node) => new($"http://127.0.0.1:{PortsOf(node).Http}");

    /// <summary>Where the other brokers reach a node.</summary>
    public Uri PeerOf(int node) => new($"http://127.0.0.1:{PortsOf(node).Peer}");

    public IReadOnlyCollection<string> LinesOf(int node) => _lines.GetOrAdd(node, static _ => new());

    /// <summary>A client of these nodes alone.</summary>
    public BrokerClient Connect(params int[] nodes) => new(new BrokerClientOptions
    {
        Addresses = [.. nodes.Select(GrpcOf)],
        PublishTimeout = TimeSpan.FromMinutes(1),
        OperationTimeout = TimeSpan.FromMinutes(1),
    });

    /// <summary>Starts all that form the cluster, and waits until they have.</summary>
    public async Task FormAsync()
    {
        for (var node = 1; node <= founders; node++)
        {
            Start(node);
        }

        await BecomeHealthyAsync([.. Enumerable.Range(1, founders)]);
    }

    /// <summary>Starts a node with a new disk that members are to take in.</summary>
    public void StartJoining(int node, params int[] members) =>
        Start(node, ("Broker__Join", string.Join(',', members.Select(PeerOf))));

    public void Start(int node, params (string Key, string Value)[] settings)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(Limits).Assembly.Location])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            WorkingDirectory = _home.FullName,
        };
        start.Environment["ASPNETCORE_URLS"] = $"{HttpOf(node)}";
        start.Environment["Broker__NodeName"] = $"broker-{node}";
        start.Environment["Broker__DataDirectory"] = FolderOf(node);
        start.Environment["Broker__GrpcPort"] = $"{PortsOf(node).Grpc}";
        start.Environment["Broker__PeerPort"] = $"{PortsOf(node).Peer}";
        if (node <= founders)
        {
            start.Environment["Broker__ClusterSize"] = $"{founders}";
            start.Environment["Broker__DataShards"] = $"{shards}";
            for (var each = 1; each <= founders; each++)
            {
                start.Environment[$"services__broker-{each}__grpc__0"] = $"{GrpcOf(each)}";
                start.Environment[$"services__broker-{each}__peer__0"] = $"{PeerOf(each)}";
            }
        }
        else
        {
            start.Environment[$"services__broker-{node}__grpc__0"] = $"{GrpcOf(node)}";
            start.Environment[$"services__broker-{node}__peer__0"] = $"{PeerOf(node)}";
        }

        if (Roles.TryGetValue(node, out var roles))
        {
            start.Environment["Broker__Roles"] = roles;
        }

        foreach (var (key, value) in Settings.Concat(settings))
        {
            start.Environment[key] = value;
        }

        var lines = _lines[node] = new();
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, line) => Hear(node, lines, line.Data);
        process.ErrorDataReceived += (_, line) => Hear(node, lines, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes[node] = process;
    }

    /// <summary>The next start is at other addresses.</summary>
    public void Move(int node) => _ports.TryRemove(node, out _);

    /// <summary>As by kill -9.</summary>
    public async Task KillAsync(int node)
    {
        if (_processes.TryRemove(node, out var process))
        {
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }

    /// <summary>SIGSTOP: the process is there and does nothing, its connections stay open.</summary>
    public Task PauseAsync(int node) => SignalAsync(node, "STOP");

    public Task ResumeAsync(int node) => SignalAsync(node, "CONT");

    /// <summary>SIGTERM, as an orchestrator ends a process; returns when it has ended.</summary>
    public async Task TerminateAsync(int node)
    {
        await SignalAsync(node, "TERM");
        await _processes[node].WaitForExitAsync();
        await KillAsync(node);
    }

    private async Task SignalAsync(int node, string signal)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{_processes[node].Id}"]);
        await kill.WaitForExitAsync();
    }

    public Task BecomeHealthyAsync(params int[] nodes) => UntilAsync(
        async () => (await Task.WhenAll(nodes.Select(HealthAsync))).All(static health => health == "Healthy"),
        () => $"nodes {string.Join(", ", nodes)} are healthy:\n{string.Join('\n', nodes.SelectMany(LinesOf))}");

    /// <summary>Waits until a node says something, since its last start.</summary>
    public Task SaysAsync(int node, string words) => UntilAsync(
        () => Task.FromResult(LinesOf(node).Any(line => line.Contains(words, StringComparison.Ordinal))),
        () => $"node {node} says '{words}':\n{string.Join('\n', LinesOf(node))}");

    /// <summary>The same of one of several nodes.</summary>
    public Task SaysOfAnyAsync(int[] nodes, string words) => UntilAsync(
        () => Task.FromResult(nodes.SelectMany(LinesOf).Any(line => line.Contains(words, StringComparison.Ordinal))),
        () => $"one of nodes {string.Join(", ", nodes)} says '{words}':\n"
            + string.Join('\n', nodes.SelectMany(LinesOf)));

    /// <summary>The cluster as a node sees it; null while it does not answer.</summary>
    public async Task<ClusterInfo?> DescribeAsync(int node)
    {
        try
        {
            await using var client = Connect(node);
            return await client.DescribeNodeAsync(GrpcOf(node));
        }
        catch (BrokerClientException)
        {
            return null;
        }
    }

    /// <summary>Waits until all these nodes agree: these numbers alone are members, and vote in every shard.</summary>
    public Task HaveMembersAsync(int[] nodes, int[] numbers) => AgreeAsync(
        nodes,
        seen => seen.Nodes.Select(static each => each.NodeId).SequenceEqual(numbers)
            && seen.Nodes.All(static each => each.State == NodeStatus.Member)
            && seen.Shards.All(shard => shard.Voters.SequenceEqual(numbers) && shard.Learners.Count == 0),
        $"the members {string.Join(", ", numbers)}");

    /// <summary>
    /// Waits until all these nodes agree: these alone are members, controllers vote in the metadata alone, and data
    /// nodes in the other shards alone, and receive the metadata.
    /// </summary>
    /// <param name="nodes">Who is asked.</param>
    /// <param name="controllers">The numbers of the controllers, in rising order.</param>
    /// <param name="data">Those of the data nodes.</param>
    /// <param name="learners">Those of the data nodes that are no controllers, too; null: all.</param>
    public Task HaveRolesAsync(int[] nodes, int[] controllers, int[] data, int[]? learners = null) => AgreeAsync(
        nodes,
        seen => seen.Nodes.Select(static each => each.NodeId).SequenceEqual(controllers.Union(data).Order())
            && seen.Nodes.All(each => each.State == NodeStatus.Member
                && each.IsController == controllers.Contains(each.NodeId)
                && each.HoldsTopics == data.Contains(each.NodeId))
            && seen.Shards.Count > 1
            && seen.Shards.All(shard => shard.Shard == 0
                ? shard.Voters.SequenceEqual(controllers) && shard.Learners.SequenceEqual(learners ?? data)
                : shard.Voters.SequenceEqual(data) && shard.Learners.Count == 0),
        $"the controllers {string.Join(", ", controllers)} and the data nodes {string.Join(", ", data)}");

    /// <summary>
    /// Waits until all these nodes agree: they alone are members, each shard for topics has so many voters and those
    /// that were named for it, all others receive its log, and none votes in two shards more than another one.
    /// </summary>
    public Task UntilAllVoteAsync(int[] nodes, int voters) => AgreeAsync(
        nodes,
        seen => seen.Nodes.Select(static node => node.NodeId).SequenceEqual(nodes)
            && seen.Nodes.All(static node => node.State == NodeStatus.Member)
            && seen.Shards.Skip(1).All(shard => shard.Voters.Count == voters
                && shard.Voters.SequenceEqual(shard.PlacedVoters)
                && shard.Voters.Concat(shard.Learners).Order().SequenceEqual(nodes))
            && nodes.Select(node => seen.Shards.Skip(1).Count(shard => shard.Voters.Contains(node))).ToArray()
                is var loads && loads.Max() - loads.Min() <= 1,
        $"{voters} voters of each shard");

    /// <summary>Waits until all these nodes answer, and what each of them sees is as it should be.</summary>
    /// <param name="nodes">Who is asked.</param>
    /// <param name="expected">Whether it is.</param>
    /// <param name="what">What should be seen. Where it is not in time, the failure tells what each node saw.</param>
    public async Task AgreeAsync(int[] nodes, Func<ClusterInfo, bool> expected, string what)
    {
        ClusterInfo?[] views = [];
        await UntilAsync(
            async () =>
            {
                views = await Task.WhenAll(nodes.Select(DescribeAsync));
                return views.All(seen => seen is not null && expected(seen));
            },
            () => $"nodes {string.Join(", ", nodes)} see {what}:\n"
                + string.Join('\n', nodes.Zip(views, static (node, seen) => $"node {node} sees {ViewOf(seen)}"))
                + $"\n{string.Join('\n', nodes.SelectMany(LinesOf))}");
    }

    private static string ViewOf(ClusterInfo? seen) => seen is null
        ? "nothing: it does not answer"
        : string.Join(", ", seen.Nodes.Select(static node => $"{node.NodeId} {node.State}"))
            + string.Concat(seen.Shards.Select(static shard => $"; shard {shard.Shard}: leader {shard.Leader}, voters "
                + $"{string.Join(' ', shard.Voters)}, learners {string.Join(' ', shard.Learners)}, placed "
                + $"{string.Join(' ', shard.PlacedVoters)}, {shard.SegmentsElsewhere} segments elsewhere"));

    /// <summary>What /health answers; null while nobody answers.</summary>
    public async Task<string?> HealthAsync(int node)
    {
        try
        {
            using var answer = await _http.GetAsync(new Uri(HttpOf(node), "/health"));
            return await answer.Content.ReadAsStringAsync();
        }
        catch (Exception failure) when (failure is HttpRequestException or OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>Waits for a condition, up to a deadline.</summary>
    public static async Task UntilAsync(Func<Task<bool>> condition, Func<string> what)
    {
        var watch = Stopwatch.StartNew();
        while (!await condition())
        {
            if (watch.Elapsed > Patience)
            {
                throw new TimeoutException($"Did not happen within {Patience.TotalSeconds} s: {what()}");
            }

            await Task.Delay(20);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _processes.Keys)
        {
            await KillAsync(node);
        }

        _http.Dispose();
        _home.Delete(recursive: true);
    }

    private void Hear(int node, ConcurrentQueue<string> lines, string? line)
    {
        if (line is not null)
        {
            lines.Enqueue(line);
            Heard?.Invoke(node, line);
        }
    }

    private (int Http, int Grpc, int Peer) PortsOf(int node) => _ports.GetOrAdd(node, static _ =>
    {
        var ports = FreePorts.Take(3);
        return (ports[0], ports[1], ports[2]);
    });
}
