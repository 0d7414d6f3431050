using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Three brokers as processes of this machine, on free loopback ports, with fresh data.</summary>
internal sealed partial class BrokerCluster : IAsyncDisposable
{
    private const int Nodes = 3;
    private const int TerminateSignal = 15;

    /// <summary>The unit of /proc/{pid}/stat: fixed at 100 a second on every Linux that .NET runs on.</summary>
    private const double ClockTicksPerSecond = 100;

    /// <summary>Long enough to open a log of many gigabytes.</summary>
    private static readonly TimeSpan StartDeadline = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(15);

    private readonly string[] _command;
    private readonly string _folder;
    private readonly Process?[] _processes = new Process?[Nodes];
    private readonly List<StreamWriter> _logs = [];
    private readonly int[] _httpPorts = FreePorts(Nodes);
    private readonly int[] _grpcPorts = FreePorts(Nodes);

    private BrokerCluster(string[] command, string folder)
    {
        _command = command;
        _folder = folder;
    }

    public IReadOnlyList<Uri> HttpAddresses => [.. _httpPorts.Select(port => new Uri($"http://127.0.0.1:{port}"))];

    public IReadOnlyList<Uri> Addresses => [.. _grpcPorts.Select(port => new Uri($"http://127.0.0.1:{port}"))];

    /// <param name="command">What dotnet runs: a broker's DLL, and arguments.</param>
    /// <param name="folder">Where the nodes keep data and logs.</param>
    /// <param name="cancellationToken">Gives up waiting for the nodes.</param>
    public static async Task<BrokerCluster> StartAsync(
        string[] command, string folder, CancellationToken cancellationToken)
    {
        var cluster = new BrokerCluster(command, folder);
        try
        {
            for (var node = 0; node < Nodes; node++)
            {
                cluster.Start(node);
            }

            for (var node = 0; node < Nodes; node++)
            {
                await cluster.WaitUntilHealthyAsync(node, cancellationToken);
            }

            await cluster.WaitForLeadersAsync(cancellationToken);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Processor seconds that the running brokers have used since they started.</summary>
    public double CpuSeconds() => Running.Sum(process =>
    {
        // Fields 14 and 15 are user and system time; the name, field 2, may hold spaces but ends with the last ')'.
        var stat = File.ReadAllText($"/proc/{process.Id}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(fields[11], CultureInfo.InvariantCulture)
            + double.Parse(fields[12], CultureInfo.InvariantCulture)) / ClockTicksPerSecond;
    });

    /// <summary>Megabytes of memory that a node holds now.</summary>
    public double ResidentMegabytes(int node)
    {
        _processes[node]!.Refresh();
        return _processes[node]!.WorkingSet64 / 1e6;
    }

    public async Task KillAsync(int node)
    {
        var process = _processes[node]!;
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        _processes[node] = null;
    }

    public void Start(int node)
    {
        var name = $"broker-{node + 1}";
        var home = Path.Combine(_folder, name);
        Directory.CreateDirectory(home);
        var start = new ProcessStartInfo("dotnet", _command)
        {
            WorkingDirectory = home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["ASPNETCORE_URLS"] = $"http://127.0.0.1:{_httpPorts[node]}";
        start.Environment["Broker__GrpcPort"] = _grpcPorts[node].ToString(CultureInfo.InvariantCulture);
        start.Environment["Broker__NodeName"] = name;
        start.Environment["Broker__DataDirectory"] = Path.Combine(home, "data");
        start.Environment["Logging__LogLevel__Default"] = "Warning";
        for (var peer = 0; peer < Nodes; peer++)
        {
            start.Environment[$"services__broker-{peer + 1}__grpc__0"] = $"http://127.0.0.1:{_grpcPorts[peer]}";
        }

        var log = TextWriter.Synchronized(Log(home));
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, line) => log.WriteLine(line.Data);
        process.ErrorDataReceived += (_, line) => log.WriteLine(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes[node] = process;
    }

    /// <summary>Waits until a node's /health answers 200.</summary>
    public async Task WaitUntilHealthyAsync(int node, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(StartDeadline);
        using var http = new HttpClient();
        while (!await IsHealthyAsync(http, _httpPorts[node], deadline.Token))
        {
            if (_processes[node] is { HasExited: true } dead)
            {
                throw new InvalidOperationException(
                    $"Broker process {dead.Id} ended with {dead.ExitCode} while it started; see its broker.log.");
            }

            await Task.Delay(10, deadline.Token);
        }
    }

    /// <summary>Waits until every group has a leader.</summary>
    public Task WaitForLeadersAsync(CancellationToken cancellationToken) =>
        WaitForGroupsAsync(static group => group.Leader != 0, cancellationToken);

    /// <summary>
    /// Waits until each group's leader is the node where the brokers want it to be, so that it stays there: a leader
    /// that moves within a measurement costs it a few answers.
    /// </summary>
    public Task WaitForBalanceAsync(CancellationToken cancellationToken) =>
        WaitForGroupsAsync(group => group.Leader == (group.Group % _httpPorts.Length) + 1, cancellationToken);

    public async ValueTask DisposeAsync()
    {
        foreach (var process in Running.Where(p => !p.HasExited))
        {
            _ = Kill(process.Id, TerminateSignal);
        }

        foreach (var process in Running)
        {
            using var deadline = new CancellationTokenSource(StopDeadline);
            try
            {
                await process.WaitForExitAsync(deadline.Token);
            }
            catch (OperationCanceledException)
            {
                await Console.Error.WriteLineAsync($"Broker {process.Id} did not end by itself; it is killed.");
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
            }

            process.Dispose();
        }

        foreach (var log in _logs)
        {
            await log.DisposeAsync();
        }
    }

    private IEnumerable<Process> Running => _processes.OfType<Process>();

    private async Task WaitForGroupsAsync(Predicate<GroupInfo> isAsWanted, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(StartDeadline);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = Addresses });
        while ((await client.DescribeClusterAsync(deadline.Token)).Groups is var groups
            && (groups.Count < 2 || !groups.All(group => isAsWanted(group))))
        {
            await Task.Delay(50, deadline.Token);
        }
    }

    private StreamWriter Log(string home)
    {
        var log = new StreamWriter(Path.Combine(home, "broker.log"), append: true) { AutoFlush = true };
        _logs.Add(log);
        return log;
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

    /// <summary>Ports that were free a moment ago, all different.</summary>
    private static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToList();
        listeners.ForEach(l => l.Start());
        var ports = listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port).ToArray();
        listeners.ForEach(l => l.Stop());
        return ports;
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int processId, int signal);
}
