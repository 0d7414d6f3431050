using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// The processes of a cluster on this machine: each has a folder with its log, and each is ended by its process id.
/// </summary>
internal sealed partial class NodeProcesses(string folder, int count) : IAsyncDisposable
{
    private const int TerminateSignal = 15;

    /// <summary>The unit of /proc/{pid}/stat: fixed at 100 a second on every Linux that .NET runs on.</summary>
    private const double ClockTicksPerSecond = 100;

    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(15);

    private readonly Process?[] _processes = new Process?[count];
    private readonly List<StreamWriter> _logs = [];

    /// <summary>Processor seconds that the running processes have used since they started.</summary>
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

    /// <summary>Starts a node in its own folder.</summary>
    /// <param name="node">Its index.</param>
    /// <param name="name">Of its folder and its log.</param>
    /// <param name="command">What dotnet runs: a DLL, and arguments.</param>
    /// <param name="environment">Added to this process's own.</param>
    public void Start(
        int node, string name, IEnumerable<string> command, IReadOnlyDictionary<string, string> environment)
    {
        var home = Path.Combine(folder, name);
        Directory.CreateDirectory(home);
        var start = new ProcessStartInfo("dotnet", command)
        {
            WorkingDirectory = home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (variable, value) in environment)
        {
            start.Environment[variable] = value;
        }

        var log = new StreamWriter(Path.Combine(home, "node.log"), append: true) { AutoFlush = true };
        _logs.Add(log);
        var lines = TextWriter.Synchronized(log);
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, line) => lines.WriteLine(line.Data);
        process.ErrorDataReceived += (_, line) => lines.WriteLine(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes[node] = process;
    }

    /// <summary>kill -9 of these nodes, all before the first is waited for.</summary>
    public async Task KillAsync(params int[] nodes)
    {
        foreach (var node in nodes)
        {
            _processes[node]!.Kill();
        }

        foreach (var node in nodes)
        {
            await _processes[node]!.WaitForExitAsync();
            _processes[node]!.Dispose();
            _processes[node] = null;
        }
    }

    /// <summary>A node that has ended by itself is not worth waiting for.</summary>
    public void ThrowIfEnded(int node)
    {
        if (_processes[node] is { HasExited: true } dead)
        {
            throw new InvalidOperationException(
                $"Process {dead.Id} of node {node + 1} ended with {dead.ExitCode}; see its node.log in {folder}.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in Running.Where(p => !p.HasExited))
        {
            _ = Signal(process.Id, TerminateSignal);
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
                await Console.Error.WriteLineAsync($"Process {process.Id} did not end by itself; it is killed.");
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

    /// <summary>Ports that were free a moment ago, all different.</summary>
    public static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToList();
        listeners.ForEach(l => l.Start());
        var ports = listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port).ToArray();
        listeners.ForEach(l => l.Stop());
        return ports;
    }

    private IEnumerable<Process> Running => _processes.OfType<Process>();

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Signal(int processId, int signal);
}
