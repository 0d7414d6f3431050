using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>An AppHost, ours or another one, as a user starts it: its own program, its own process.</summary>
internal sealed class AppHostProcess : IAsyncDisposable
{
    /// <summary>Longer than a start takes on a machine that is busy with other things.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _output = new();

    private AppHostProcess(Process process) => _process = process;

    public string Output => string.Join('\n', _output);

    /// <summary>Starts it.</summary>
    /// <param name="workingDirectory">Where the user stands.</param>
    /// <param name="arguments">Its command line.</param>
    public static AppHostProcess Start(string workingDirectory, params string[] arguments) =>
        Start(workingDirectory, new Dictionary<string, string>(), arguments);

    public static AppHostProcess Start(
        string workingDirectory, IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        var configuration = typeof(AppHostProcess).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!;
        var program = Path.Combine(
            Projects.AppHost.ProjectPath,
            "bin",
            configuration.Configuration,
            $"net{Environment.Version.ToString(2)}",
            "AppHost");
        return StartProgram(program, workingDirectory, environment, arguments);
    }

    public static AppHostProcess StartProgram(
        string program,
        string workingDirectory,
        IReadOnlyDictionary<string, string> environment,
        params string[] arguments)
    {
        // What a shell starts in the background ignores SIGINT, and so does what that starts: here it is heard again.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", program, .. arguments])
        {
            WorkingDirectory = workingDirectory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        var host = new AppHostProcess(new Process { StartInfo = start });
        host._process.OutputDataReceived += (_, line) => host._output.Enqueue(line.Data ?? "");
        host._process.ErrorDataReceived += (_, line) => host._output.Enqueue(line.Data ?? "");
        host._process.Start();
        host._process.BeginOutputReadLine();
        host._process.BeginErrorReadLine();
        return host;
    }

    /// <summary>Waits for the table of addresses.</summary>
    public async Task WaitUntilHealthyAsync(CancellationToken cancellationToken)
    {
        await UntilAsync(
            () => _process.HasExited || Output.Contains("parts are healthy", StringComparison.Ordinal),
            () => $"everything was healthy; AppHost printed:\n{Output}",
            cancellationToken);
        Assert.False(_process.HasExited, Output);
    }

    /// <summary>An address from the table.</summary>
    public Uri Address(string resource, string endpoint)
    {
        // publisher    http http://localhost:28195  grpc http://localhost:28196
        var row = _output.Last(line => line.StartsWith($"{resource} ", StringComparison.Ordinal));
        return new Uri(Regex.Match(row, $@" {endpoint} (?<url>\S+)").Groups["url"].Value);
    }

    /// <summary>
    /// All processes that serve this run. They descend from the orchestrator, which has left AppHost's family and knows
    /// it by `--monitor ID`.
    /// </summary>
    public IReadOnlyList<RunningProcess> Processes() =>
        RunningProcess.FamilyOf(id => RunningProcess.CommandLineOf(id)
            .Contains($" --monitor {_process.Id} ", StringComparison.Ordinal));

    public async Task SignalAsync(string signal, CancellationToken cancellationToken)
    {
        using var kill = Process.Start("kill", [$"-{signal}", _process.Id.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync(cancellationToken);
        Assert.Equal(0, kill.ExitCode);
    }

    public async Task<int> WaitForExitAsync(CancellationToken cancellationToken)
    {
        await _process.WaitForExitAsync(cancellationToken).WaitAsync(Patience, cancellationToken);
        return _process.ExitCode;
    }

    public static async Task UntilAsync(
        Func<bool> condition, Func<string> what, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < Patience, $"Within {Patience} it was not so that {what()}");
            await Task.Delay(TimeSpan.FromMilliseconds(50), cancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await SignalAsync("TERM", CancellationToken.None);
            await WaitForExitAsync(CancellationToken.None);
        }

        _process.Dispose();
    }
}

/// <summary>A process, told from a later one of the same id by the time of its start.</summary>
internal readonly record struct RunningProcess(int Id, string Started, string Name)
{
    public bool IsAlive => Read(Id) is { } now && now.Process == this;

    /// <summary>The processes that are chosen, and their descendants.</summary>
    public static IReadOnlyList<RunningProcess> FamilyOf(Func<int, bool> isChosen)
    {
        var all = Directory.EnumerateDirectories("/proc")
            .Select(folder => int.TryParse(Path.GetFileName(folder), out var id) ? Read(id) : null)
            .OfType<(RunningProcess Process, int Parent)>()
            .ToDictionary(one => one.Process.Id);
        return [.. all.Values.Where(one => Descends(one.Process.Id)).Select(one => one.Process)];

        bool Descends(int id)
        {
            for (; all.TryGetValue(id, out var one); id = one.Parent)
            {
                if (isChosen(id))
                {
                    return true;
                }
            }

            return false;
        }
    }

    public static string CommandLineOf(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Replace('\0', ' ');
        }
        catch (IOException)
        {
            // It has ended meanwhile.
            return "";
        }
    }

    // "123 (name) S 45 …": after the name, which may hold spaces, come the state, the parent and more; the twentieth
    // is the time of the start. A process that has ended and waits to be seen by its parent is a zombie (Z).
    private static (RunningProcess Process, int Parent)? Read(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            var (open, close) = (stat.IndexOf('('), stat.LastIndexOf(')'));
            var fields = stat[(close + 2)..].Split(' ');
            return fields[0] == "Z" ? null : (
                new RunningProcess(id, fields[19], stat[(open + 1)..close]),
                int.Parse(fields[1], CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            // It has ended meanwhile.
            return null;
        }
    }
}
