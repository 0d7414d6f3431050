using System.Data.Common;
using Broker.ServiceDefaults;
using Subscriber.Following;

namespace Subscriber.Inbox;

/// <summary>
/// Brings the inbox to life: tables, positions, subjects. The others wait for it; it waits for Postgres.
/// </summary>
internal sealed class Startup(
    InboxStore store,
    TopicTable topics,
    SubjectList subjects,
    TimeProvider time,
    ILogger<Startup> logger) : BackgroundService
{
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task Ready => _ready.Task;

    /// <summary>Creates what is missing, however long Postgres takes.</summary>
    public Task PrepareAsync(CancellationToken cancellationToken) =>
        UntilDoneAsync(store.EnsureSchemaAsync, "creating the inbox", cancellationToken);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await PrepareAsync(stoppingToken);
        await UntilDoneAsync(LoadAsync, "loading positions", stoppingToken);
        logger.InboxReady(topics.Count, subjects.Filters.Length);
        _ready.TrySetResult();
        await subjects.WatchAsync(stoppingToken);
    }

    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        foreach (var (place, nextOffset) in await store.LoadPositionsAsync(cancellationToken))
        {
            topics.Load(place, nextOffset);
        }

        await subjects.RefreshAsync(cancellationToken);
    }

    private async Task UntilDoneAsync(
        Func<CancellationToken, Task> action, string what, CancellationToken cancellationToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(1), time);
        while (true)
        {
            try
            {
                await action(cancellationToken);
                return;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (backoff.Attempts == 0)
                {
                    logger.PostgresAway(what, e);
                }

                await backoff.WaitAsync(cancellationToken);
            }
        }
    }
}
