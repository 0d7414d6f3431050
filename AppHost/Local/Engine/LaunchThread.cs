using System.Collections.Concurrent;
using System.ComponentModel;
using System.Diagnostics;

namespace Aspire.Hosting.Local;

/// <summary>
/// The one thread that starts processes. The kernel sends the parent death signal (prctl(2), PR_SET_PDEATHSIG) when the
/// *thread* that started the process ends, so a thread of the pool, which may retire at any time, must not start them.
/// This thread ends only with the AppHost, also when that is killed with SIGKILL.
/// </summary>
internal static class LaunchThread
{
    private static readonly BlockingCollection<Request> Requests = new(boundedCapacity: 1024);

    static LaunchThread() => new Thread(Loop) { IsBackground = true, Name = "launch" }.Start();

    public static Task<Process> StartAsync(ProcessStartInfo info)
    {
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Requests.Add(new Request(info, started));
        return started.Task;
    }

    private sealed record Request(ProcessStartInfo Info, TaskCompletionSource<Process> Started);

    private static void Loop()
    {
        foreach (var (info, started) in Requests.GetConsumingEnumerable())
        {
            try
            {
                started.SetResult(
                    Process.Start(info) ?? throw new InvalidOperationException($"{info.FileName} did not start."));
            }
            catch (Exception e) when (e is Win32Exception or InvalidOperationException or IOException)
            {
                started.SetException(e);
            }
        }
    }
}
