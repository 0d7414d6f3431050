using System.Collections.Concurrent;
using Broker.Domain;

namespace Broker.Cluster;

/// <summary>
/// What a node does on and on beside its threads. A task that ends without being asked to is told of and begun again,
/// ever later: nothing that the node needs dies silently. A broken invariant ends the process.
/// </summary>
internal sealed class NodeTasks(TimeProvider time, ILogger logger, Action<Exception> onFatal) : IAsyncDisposable
{
    private static readonly TimeSpan RestartDelay = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RestartDelayMax = TimeSpan.FromMinutes(1);

    /// <summary>A task that has run for so long since its failure is well again.</summary>
    private static readonly TimeSpan SettleTime = 2 * RestartDelayMax;

    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Task> _tasks = [];
    private readonly ConcurrentDictionary<string, (string Reason, long At)> _failures = [];

    /// <summary>What has failed of late, in words. Any thread.</summary>
    public IReadOnlyList<string> Failing =>
    [
        .. _failures.Where(failure => time.GetElapsedTime(failure.Value.At) < SettleTime)
            .Select(static failure => $"{failure.Key} failed and is tried again: {failure.Value.Reason}")
            .Order(StringComparer.Ordinal),
    ];

    public void Start(string name, Func<CancellationToken, Task> run) =>
        _tasks.Add(Task.Run(() => RunAsync(name, run, _stopping.Token)));

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_tasks);
        _stopping.Dispose();
    }

    private async Task RunAsync(string name, Func<CancellationToken, Task> run, CancellationToken stopping)
    {
        var delay = RestartDelay;
        while (!stopping.IsCancellationRequested)
        {
            var began = time.GetTimestamp();
            try
            {
                await run(stopping);
                if (stopping.IsCancellationRequested)
                {
                    return;
                }

                throw new InvalidOperationException("it ended, although nobody asked it to.");
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (InvariantException broken)
            {
                onFatal(broken);
                return;
            }
            catch (Exception failure)
            {
                delay = time.GetElapsedTime(began) >= SettleTime ? RestartDelay : delay;
                _failures[name] = (failure.Message, time.GetTimestamp());
                ClusterEvents.TaskFailed(logger, name, failure.Message, delay, failure);
            }

            await Task.Delay(delay, time, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            delay = TimeSpan.FromTicks(Math.Min(2 * delay.Ticks, RestartDelayMax.Ticks));
        }
    }
}
