using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;
using Grpc.Net.Client;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>
/// Three brokers as processes of their own, numbered from 1, which end as by kill -9, and whose folders can be hurt
/// meanwhile. There is one group for topics.
/// </summary>
internal sealed class KilledBrokers : IAsyncDisposable
{
    public const int TopicGroup = 1;

    /// <summary>The node where the brokers want that group to be led: see LeaderBalancer.</summary>
    public const int TopicLeader = 2;

    public const int Count = 3;

    /// <summary>How long who speaks as a peer waits for a node.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly DirectoryInfo _home = Directory.CreateTempSubdirectory("broker-killed-");
    private readonly Process?[] _processes = new Process?[Count];
    private readonly ConcurrentQueue<string>[] _lines = [[], [], []];
    private readonly int[] _ports = FreePorts.Take(3 * Count);
    private readonly HttpClient _http = new();

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    /// <summary>Where a node keeps what it must not lose.</summary>
    public string FolderOf(int node) => Path.Combine(_home.FullName, $"{node}");

    /// <summary>A client of these nodes alone.</summary>
    public BrokerClient Connect(params int[] nodes) => new(new BrokerClientOptions
    {
        Addresses = [.. nodes.Select(GrpcOf)],
        PublishTimeout = TimeSpan.FromMinutes(1),
        OperationTimeout = TimeSpan.FromMinutes(1),
    });

    /// <summary>One try, as a client without retries would make it.</summary>
    public async Task PublishOnceAsync(int node, string topic)
    {
        using var channel = GrpcChannel.ForAddress(GrpcOf(node));
        await new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
            new PublishRequest { Topic = topic, Batch = new RecordBatch { Records = { new Record() } } },
            deadline: DateTime.UtcNow.AddSeconds(8));
    }

    /// <summary>
    /// Publishes so many messages that hold their numbers, which become their offsets, by a client that knows the given
    /// nodes, or all.
    /// </summary>
    public async Task PublishNumbersAsync(string topic, int first, int count, params int[] nodes)
    {
        await using var client = Connect(nodes.Length == 0 ? [1, 2, 3] : nodes);
        for (var number = first; number < first + count; number++)
        {
            Assert.Equal(number, (await client.PublishAsync(topic, NumberMessage(number), Test)).Offset);
        }
    }

    /// <summary>A node has the first of these messages, whatever the others have.</summary>
    public async Task AssertReadsNumbersAsync(int node, string topic, int count)
    {
        await using var client = Connect(node);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Test);
        deadline.CancelAfter(TimeSpan.FromMinutes(1));
        var next = 0;
        var options = new ReadOptions { FromOffset = 0, Follow = true };
        await foreach (var record in client.ReadAsync(topic, options, deadline.Token))
        {
            Assert.Equal(next, record.Offset);
            Assert.Equal(NumberMessage(next).Value.ToArray(), record.Value.ToArray());
            if (++next == count)
            {
                return;
            }
        }
    }

    public static BrokerMessage NumberMessage(int number) =>
        new() { Value = new byte[] { (byte)number, 1, 2, 3, 4, 5, 6, 7 } };

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
        start.Environment["Broker__ClusterSize"] = $"{Count}";
        start.Environment["Broker__DataShards"] = $"{TopicGroup}";
        start.Environment["Broker__DataDirectory"] = FolderOf(node);
        start.Environment["Broker__GrpcPort"] = $"{GrpcOf(node).Port}";
        start.Environment["Broker__PeerPort"] = $"{PeerOf(node).Port}";
        for (var each = 1; each <= Count; each++)
        {
            start.Environment[$"services__broker-{each}__grpc__0"] = $"{GrpcOf(each)}";
            start.Environment[$"services__broker-{each}__peer__0"] = $"{PeerOf(each)}";
        }

        foreach (var (key, value) in settings)
        {
            start.Environment[key] = value;
        }

        var lines = _lines[node - 1] = [];
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, line) => lines.Enqueue(line.Data ?? "");
        process.ErrorDataReceived += (_, line) => lines.Enqueue(line.Data ?? "");
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes[node - 1] = process;
    }

    /// <summary>Starts all three with empty folders; the topic group is led where it stays.</summary>
    public async Task FormAsync()
    {
        StartAll();
        await BecomesHealthyAsync(1, 2, 3);
        await using var client = Connect(TopicLeader);
        await Eventually.HoldsAsync(
            async () => (await client.DescribeClusterAsync()).Shards.Single(
                static group => group.Shard == TopicGroup).Leader == TopicLeader,
            () => $"node {TopicLeader} leads the topics",
            60);
    }

    public async Task KillAsync(int node)
    {
        if (_processes[node - 1] is { } process)
        {
            _processes[node - 1] = null;
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }

    public void StartAll()
    {
        for (var node = 1; node <= Count; node++)
        {
            Start(node);
        }
    }

    public async Task KillAllAsync()
    {
        for (var node = 1; node <= Count; node++)
        {
            await KillAsync(node);
        }
    }

    /// <summary>Stops a process as SIGSTOP does: its connections stay, and nobody answers. See Resume.</summary>
    public void Pause(int node) => Signal(node, "STOP");

    public void Resume(int node) => Signal(node, "CONT");

    /// <summary>The most memory that a process had at a time (VmHWM), in bytes.</summary>
    public long PeakBytesOf(int node)
    {
        var line = File.ReadLines($"/proc/{_processes[node - 1]!.Id}/status")
            .Single(static line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        var kilobytes = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1];
        return 1024 * long.Parse(kilobytes, CultureInfo.InvariantCulture);
    }

    public Task BecomesHealthyAsync(params int[] nodes) => Eventually.HoldsAsync(
        async () => (await Task.WhenAll(nodes.Select(HealthAsync))).All(static health => health == "Healthy"),
        () => $"nodes {string.Join(", ", nodes)} are healthy: {string.Join("\n", nodes.SelectMany(LinesOf))}",
        90);

    /// <summary>Waits until a node says something to its operator, since its last start.</summary>
    public Task SaysAsync(int node, string words) => Eventually.HoldsAsync(
        () => Task.FromResult(LinesOf(node).Any(line => line.Contains(words, StringComparison.Ordinal))),
        () => $"node {node} says '{words}': {string.Join("\n", _lines.SelectMany(static lines => lines))}",
        60);

    /// <summary>What /health answers; null while nobody answers.</summary>
    public async Task<string?> HealthAsync(int node)
    {
        try
        {
            using var answer = await _http.GetAsync(new Uri(HttpOf(node), "/health"));
            return await answer.Content.ReadAsStringAsync();
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }

    /// <summary>What /metrics answers.</summary>
    public Task<string> MetricsAsync(int node) =>
        _http.GetStringAsync(new Uri(HttpOf(node), "/metrics"), TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync()
    {
        await KillAllAsync();
        _http.Dispose();
        _home.Delete(recursive: true);
    }

    /// <summary>A connection to a node's port for peers.</summary>
    public PeerConnection Dial(int node) => new(
        PeerSocket.Connect(PeerOf(node), Patience, Test), TimeProvider.System);

    /// <summary>What a node says of itself to its peers.</summary>
    public async Task<PeerHello> HelloOfAsync(int node)
    {
        using var channel = GrpcChannel.ForAddress(PeerOf(node));
        return (await new Peer.PeerClient(channel).InviteAsync(
            new InviteRequest { Name = "nobody" }, cancellationToken: Test)).Hello;
    }

    /// <summary>What a node answers to a hello that it does not take.</summary>
    public PeerRefusal Refused(int node, PeerHello hello)
    {
        using var connection = Dial(node);
        connection.Write(PeerFrame.Preamble, Patience);
        connection.Write(PeerFrameKind.Hello, hello, Patience);
        Assert.True(connection.TryRead(Patience, null, out var kind, out var payload));
        Assert.Equal(PeerFrameKind.Refusal, kind);
        return PeerRefusal.Parser.ParseFrom(payload);
    }

    private void Signal(int node, string signal)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{_processes[node - 1]!.Id}"]);
        kill.WaitForExit();
    }

    private IEnumerable<string> LinesOf(int node) => _lines[node - 1];

    private Uri HttpOf(int node) => new($"http://127.0.0.1:{_ports[node - 1]}");

    public Uri GrpcOf(int node) => new($"http://127.0.0.1:{_ports[Count + node - 1]}");

    /// <summary>Where the other brokers reach a node.</summary>
    public Uri PeerOf(int node) => new($"http://127.0.0.1:{_ports[(2 * Count) + node - 1]}");
}
