using System.Diagnostics;

namespace Aspire.Hosting.Local;

/// <summary>A running process of a resource, from its start to its end.</summary>
internal sealed class LocalProcess : IDisposable
{
    private readonly Process _process;
    private readonly int _stopSignal;
    private readonly TimeProvider _time;

    private LocalProcess(Process process, int stopSignal, OutputLog log, TimeProvider time)
    {
        _process = process;
        _stopSignal = stopSignal;
        _time = time;
        Log = log;
        Id = process.Id;
        Exited = WatchAsync(time);
    }

    public int Id { get; }

    public OutputLog Log { get; }

    /// <summary>The exit code, once the process has ended and its output is read; 128 + n after signal n.</summary>
    public Task<int> Exited { get; }

    public static async Task<LocalProcess> StartAsync(LaunchPlan plan, OutputLog log, TimeProvider time)
    {
        var info = CreateStartInfo(plan);
        var process = await LaunchThread.StartAsync(info);
        process.OutputDataReceived += (_, line) => log.Add(line.Data, isError: false);
        process.ErrorDataReceived += (_, line) => log.Add(line.Data, isError: true);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.StandardInput.Close();
        return new LocalProcess(process, plan.StopSignal, log, time);
    }

    /// <summary>Asks the process to end, and kills its whole group when it has not after the timeout.</summary>
    public async Task StopAsync()
    {
        Signals.Send(Id, _stopSignal);
        try
        {
            await Exited.WaitAsync(EngineLimits.StopTimeout, _time);
        }
        catch (TimeoutException)
        {
            var seconds = EngineLimits.StopTimeout.TotalSeconds;
            Log.Add($"The process did not end within {seconds:0} s and is killed.", isError: true);
            Kill();
            await Exited.WaitAsync(EngineLimits.KillTimeout, _time);
        }
    }

    /// <summary>Kills the process and all of its group.</summary>
    public void Kill() => Signals.Send(-Id, Signals.Kill);

    public void Dispose() => _process.Dispose();

    private static ProcessStartInfo CreateStartInfo(LaunchPlan plan)
    {
        List<string> command = [plan.FileName, .. plan.Arguments];
        if (OperatingSystem.IsLinux())
        {
            // Both replace themselves by the program, so the process id stays. setsid: a session of its own, so that
            // Ctrl-C in
            // the terminal reaches the AppHost alone, which then stops the others in order. pdeathsig: see
            // LaunchThread; the
            // kernel clears it on a change of user, which is why setpriv does that first, in the same call.
            command.InsertRange(0, ["setsid", "setpriv", .. plan.Privileges, "--pdeathsig", "KILL", "--"]);
        }

        var info = new ProcessStartInfo(command[0], command.Skip(1))
        {
            WorkingDirectory = plan.WorkingDirectory,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var (name, value) in plan.Environment)
        {
            info.Environment[name] = value;
        }

        return info;
    }

    private async Task<int> WatchAsync(TimeProvider time)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _process.Exited += (_, _) => ended.TrySetResult();
        _process.EnableRaisingEvents = true;
        await ended.Task;
        try
        {
            await _process.WaitForExitAsync().WaitAsync(EngineLimits.OutputTimeout, time);
        }
        catch (TimeoutException)
        {
            Log.Add("The process has ended; a process that it started still holds its output.", isError: true);
        }

        return _process.ExitCode;
    }
}
