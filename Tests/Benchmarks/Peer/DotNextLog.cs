using System.Net.Sockets;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>Three processes of DotNext.Net.Cluster.</summary>
internal sealed class DotNextLog : IReplicatedLog
{
    private const int Nodes = 3;

    private static readonly byte[] Record = PublishLoad.Payload(LogLoad.RecordBytes);

    private readonly DotNextLogKind _kind;
    private readonly string _folder;
    private readonly NodeProcesses _processes;
    private readonly int[] _raftPorts;
    private readonly int[] _clientPorts;

    private DotNextLog(string folder, DotNextLogKind kind)
    {
        _kind = kind;
        _folder = folder;
        _processes = new NodeProcesses(folder, Nodes);
        var ports = FreePorts.Take(2 * Nodes);
        _raftPorts = ports[..Nodes];
        _clientPorts = ports[Nodes..];
    }

    public static async Task<DotNextLog> StartAsync(
        string folder, DotNextLogKind kind, CancellationToken cancellationToken)
    {
        var log = new DotNextLog(folder, kind);
        try
        {
            await log.StartAsync([.. Enumerable.Range(0, Nodes)], cancellationToken);
            return log;
        }
        catch
        {
            await log.DisposeAsync();
            throw;
        }
    }

    public async Task<LoadResult> LoadAsync(
        LogLoad load, TimeSpan duration, CancellationToken cancellationToken)
    {
        await using var client = new DotNextClient(_clientPorts);
        var entry = NumberedLoad.Entry(0, load.RecordsPerEntry);
        var settings = load.Settings([], load.Name, duration);
        await RunAsync(settings with { Duration = PublishLoad.WarmUpDuration });
        var result = await RunAsync(settings);
        return result with { Messages = result.Messages * load.RecordsPerEntry };

        Task<LoadResult> RunAsync(LoadSettings one) =>
            PublishLoad.RunAsync(load.Name, one, _ => client.PublishAsync(entry), cancellationToken);
    }

    public async Task<LoadResult> FailoverAsync(CancellationToken cancellationToken)
    {
        var leader = await DotNextClient.FindLeaderAsync(_clientPorts, cancellationToken);
        LoadResult result;
        await using (var client = new DotNextClient(_clientPorts))
        {
            var load = FailoverLoad.RunAsync(
                LogLoad.Single.Settings([], "", FailoverVerb.Load),
                () => client.PublishUntilCommittedAsync(Record),
                cancellationToken);
            await Task.Delay(FailoverVerb.KillAfter, cancellationToken);
            await _processes.KillAsync(leader);
            result = await load;
        }

        Start(leader);
        await WaitAsync(leader, cancellationToken);
        return result;
    }

    public async Task<KillResult> KillAllAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        int leader;
        Task<List<long>> publishing;
        await using (var client = new DotNextClient(_clientPorts))
        {
            publishing = NumberedLoad.RunAsync(
                load.Window,
                number => client.PublishAsync(NumberedLoad.Entry(number, load.RecordsPerEntry)),
                stop.Token);
            await Task.Delay(duration, cancellationToken);
            leader = await DotNextClient.FindLeaderAsync(_clientPorts, cancellationToken);
            await _processes.KillAsync([.. Enumerable.Range(0, Nodes)]);
            await stop.CancelAsync();
        }

        var acknowledged = await publishing;
        await StartAsync([.. Enumerable.Range(0, Nodes).Where(node => node != leader)], cancellationToken);
        await StartAsync([leader], cancellationToken);
        return NumberedLoad.Compare(acknowledged, load.RecordsPerEntry, await ReadAllAsync(cancellationToken));
    }

    /// <summary>Processor seconds that the processes have used since they started.</summary>
    public double CpuSeconds() => _processes.CpuSeconds();

    /// <summary>A client of its own.</summary>
    public DotNextClient Connect() => new(_clientPorts);

    public ValueTask DisposeAsync() => _processes.DisposeAsync();

    /// <summary>Each of these nodes answers, and there is a leader, when it returns.</summary>
    private async Task StartAsync(int[] nodes, CancellationToken cancellationToken)
    {
        foreach (var node in nodes)
        {
            Start(node);
        }

        foreach (var node in nodes)
        {
            await WaitAsync(node, cancellationToken);
        }

        await DotNextClient.FindLeaderAsync(_clientPorts, cancellationToken);
    }

    private void Start(int node)
    {
        var name = $"peer-{node + 1}";
        var program = Path.Combine(AppContext.BaseDirectory, "Broker.Tests.Benchmarks.dll");
        var arguments = DotNextNode.Arguments(
            node, _raftPorts, _clientPorts[node], Path.Combine(_folder, name, "data"), _kind);
        _processes.Start(node, name, [program, .. arguments], new Dictionary<string, string>());
    }

    /// <summary>Waits until a node answers.</summary>
    private async Task WaitAsync(int node, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(PeerLimits.Start);
        (bool Leads, NetworkStream? Stream)? answer;
        while ((answer = await DotNextClient.AskAsync(_clientPorts[node], PeerProtocol.Write, deadline.Token)) is null)
        {
            _processes.ThrowIfEnded(node);
            await Task.Delay(10, deadline.Token);
        }

        if (answer is { Stream: { } stream })
        {
            await stream.DisposeAsync();
        }
    }

    /// <summary>The log up to an entry that is published now, after which nothing is to be expected.</summary>
    private async Task<HashSet<long>> ReadAllAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(PeerLimits.Start);
        await using var client = new DotNextClient(_clientPorts);
        await client.PublishUntilCommittedAsync(NumberedLoad.Entry(NumberedLoad.Marker, 1));
        var present = new HashSet<long>();
        await foreach (var entry in client.ReadAllAsync(deadline.Token))
        {
            present.UnionWith(NumberedLoad.Numbers(entry));
        }

        return present.Contains(NumberedLoad.Marker)
            ? present
            : throw new InvalidOperationException("The log was read, without the entry that was committed last.");
    }
}
