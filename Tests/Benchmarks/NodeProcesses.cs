using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// The processes of a cluster on this machine: each has a folder with its log, and each is ended by its process id.
/// </summary>
/// <param name="folder">Where their folders are.</param>
/// <param name="count">How many there may be.</param>
/// <param name="areWrapped">
/// What is started is a script, and the node a child of it: processor time and kill -9 are for both.
/// </param>
internal sealed partial class NodeProcesses(string folder, int count, bool areWrapped = false) : IAsyncDisposable
{
    private const int TerminateSignal = 15;

    /// <summary>The unit of /proc/{pid}/stat: fixed at 100 a second on every Linux that .NET runs on.</summary>
    private const double ClockTicksPerSecond = 100;

    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(15);

    private readonly Process?[] _processes = new Process?[count];
    private readonly List<StreamWriter> _logs = [];

    /// <summary>Processor seconds that the running processes have used since they started.</summary>
    public double CpuSeconds() => Running.Sum(process => areWrapped
        ? WithDescendants(process.Id).Sum(CpuSeconds)
        : CpuSeconds(process.Id));

    /// <summary>Megabytes of memory that a node holds now.</summary>
    public double ResidentMegabytes(int node)
    {
        _processes[node]!.Refresh();
        return _processes[node]!.WorkingSet64 / 1e6;
    }

    /// <summary>Starts a node in its own folder.</summary>
    /// <param name="node">Its index.</param>
    /// <param name="name">Of its folder and its log.</param>
    /// <param name="command">The program's arguments: of dotnet a DLL, and what that is given.</param>
    /// <param name="environment">Added to this process's own.</param>
    /// <param name="program">What is started.</param>
    public void Start(
        int node,
        string name,
        IEnumerable<string> command,
        IReadOnlyDictionary<string, string> environment,
        string program = "dotnet")
    {
        var home = Path.Combine(folder, name);
        Directory.CreateDirectory(home);
        var start = new ProcessStartInfo(program, command)
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
            _processes[node]!.Kill(entireProcessTree: areWrapped);
        }

        foreach (var node in nodes)
        {
            await _processes[node]!.WaitForExitAsync();
            _processes[node]!.Dispose();
            _processes[node] = null;
        }
    }

    public bool IsRunning(int node) => _processes[node] is { HasExited: false };

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
                process.Kill(entireProcessTree: areWrapped);
                await process.WaitForExitAsync(CancellationToken.None);
            }

            process.Dispose();
        }

        foreach (var log in _logs)
        {
            await log.DisposeAsync();
        }
    }

    private static double CpuSeconds(int processId)
    {
        var fields = StatOf(processId);
        return (double.Parse(fields[11], CultureInfo.InvariantCulture)
            + double.Parse(fields[12], CultureInfo.InvariantCulture)) / ClockTicksPerSecond;
    }

    /// <summary>
    /// /proc/{pid}/stat from its third field on (the parent's id is the second of these, user and system time the 12th
    /// and 13th): the second field, the name, may hold spaces but ends with the last ')'.
    /// </summary>
    private static string[] StatOf(int processId)
    {
        var stat = File.ReadAllText($"/proc/{processId}/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
    }

    /// <summary>A process and all that it has started, and these in their turn, which still run.</summary>
    private static List<int> WithDescendants(int processId)
    {
        var parents = new Dictionary<int, int>();
        foreach (var folder in Directory.GetDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var id))
            {
                try
                {
                    parents[id] = int.Parse(StatOf(id)[1], CultureInfo.InvariantCulture);
                }
                catch (IOException)
                {
                    // It has ended meanwhile.
                }
            }
        }

        var family = new List<int> { processId };
        for (var i = 0; i < family.Count; i++)
        {
            family.AddRange(parents.Where(each => each.Value == family[i]).Select(static each => each.Key));
        }

        return family;
    }

    private IEnumerable<Process> Running => _processes.OfType<Process>();

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Signal(int processId, int signal);
}
