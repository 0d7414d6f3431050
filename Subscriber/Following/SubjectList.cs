using System.Collections.Immutable;
using System.Data.Common;
using Broker.Client;
using Broker.ServiceDefaults;
using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// The subjects that are followed: those of the configuration, and those in Postgres that came through the API.
/// </summary>
internal sealed class SubjectList
{
    private static readonly TimeSpan WatchInterval = TimeSpan.FromSeconds(5);

    private readonly InboxStore _store;
    private readonly TimeProvider _time;
    private readonly ILogger<SubjectList> _logger;
    private readonly ImmutableArray<string> _configured;
    private State _state;

    public SubjectList(InboxStore store, SubscriberOptions options, TimeProvider time, ILogger<SubjectList> logger)
    {
        (_store, _time, _logger) = (store, time, logger);
        _configured = [.. options.Subjects.Where(subject => !string.IsNullOrWhiteSpace(subject)).Distinct()];
        foreach (var subject in _configured)
        {
            if (!TopicFilter.TryParse(subject, out _, out var reason))
            {
                throw new StartupException($"The setting Subscriber:Subjects holds '{subject}'. {reason}");
            }
        }

        _state = State.Of(_configured);
    }

    /// <summary>Wakes those who act on the subjects when they have changed.</summary>
    public Signal Changed { get; } = new();

    public ImmutableArray<string> Filters => Volatile.Read(ref _state).Filters;

    /// <summary>The filters without those that others cover: what is asked of Redis and the brokers.</summary>
    public ImmutableArray<string> Cover => Volatile.Read(ref _state).Cover;

    public bool Matches(string topic)
    {
        foreach (var filter in Volatile.Read(ref _state).Parsed)
        {
            if (filter.Matches(topic))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// Follows one more subject, from each topic's first offset. Errors: Invalid, TooMany, Unavailable.
    /// </summary>
    public async Task AddAsync(string filter, CancellationToken cancellationToken)
    {
        if (!TopicFilter.TryParse(filter, out _, out var reason))
        {
            throw new SubscriberException(SubscriberFailure.Invalid, reason);
        }

        if (Filters.Length >= SubscriberLimits.Subjects && !Filters.Contains(filter))
        {
            throw new SubscriberException(
                SubscriberFailure.TooMany,
                $"{Filters.Length} subjects are followed, which is the limit. Remove one, or use a wider one.");
        }

        await StoreAsync(_store.AddSubjectAsync, filter, cancellationToken);
    }

    /// <summary>Stops following a subject. Errors: Configured, Unavailable.</summary>
    public async Task RemoveAsync(string filter, CancellationToken cancellationToken)
    {
        if (_configured.Contains(filter))
        {
            throw new SubscriberException(
                SubscriberFailure.Configured,
                $"'{filter}' is set by the setting Subscriber:Subjects and would come back with the next start. "
                + "Remove it there.");
        }

        await StoreAsync(_store.RemoveSubjectAsync, filter, cancellationToken);
    }

    /// <summary>Reads what Postgres has.</summary>
    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        var stored = await _store.LoadSubjectsAsync(cancellationToken);
        var next = State.Of(_configured.Concat(stored.Where(filter => TopicFilter.TryParse(filter, out _, out var _))));
        if (!next.Filters.SequenceEqual(Filters))
        {
            Volatile.Write(ref _state, next);
            Changed.Pulse();
        }
    }

    /// <summary>Notices what other instances over the same inbox have changed.</summary>
    public async Task WatchAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(WatchInterval, _time);
        var away = false;
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            try
            {
                await RefreshAsync(cancellationToken);
                away = false;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (!away)
                {
                    _logger.PostgresAway("reading subjects", e);
                }

                away = true;
            }
        }
    }

    private async Task StoreAsync(
        Func<string, CancellationToken, Task> change, string filter, CancellationToken cancellationToken)
    {
        try
        {
            await change(filter, cancellationToken);
            await RefreshAsync(cancellationToken);
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            throw new SubscriberException(
                SubscriberFailure.Unavailable,
                "Postgres is away: the subjects are as they were, or changed. Try again.",
                e);
        }
    }

    private sealed record State(
        ImmutableArray<string> Filters, ImmutableArray<string> Cover, ImmutableArray<TopicFilter> Parsed)
    {
        public static State Of(IEnumerable<string> filters)
        {
            ImmutableArray<string> all = [.. filters.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
            ImmutableArray<string> cover = [.. FilterCover.Reduce(all)];
            return new State(all, cover, [.. cover.Select(filter => TopicFilter.Parse(filter))]);
        }
    }
}
