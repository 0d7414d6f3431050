using System.Diagnostics.Metrics;
using Broker.Domain;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.Diagnostics;

/// <summary>
/// The figures of consumer groups, of the shards that this node leads. The first groups that it hears of have series of
/// their own, the others share one: a collector pays for each. Whoever wants a group's figure of the whole cluster adds
/// up those of all nodes.
/// </summary>
public sealed class ConsumerGroupMetrics
{
    /// <summary>The tag of those without series of their own; no group has such a name.</summary>
    public const string Others = "$others";

    private readonly Meter _meter;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (int Number, ConsumerGroupCounts Counts)> _own = new(StringComparer.Ordinal);
    private readonly ConsumerGroupCounts _others = new();
    private bool _hasOthers;
    private Func<IEnumerable<ConsumerGroupFigures>>? _figures;

    internal ConsumerGroupMetrics(Meter meter)
    {
        _meter = meter;
        Count("delivered", "that were sent to a consumer, each time counted", static counts => counts.Delivered);
        Count("redelivered", "that were sent not for the first time", static counts => counts.Redelivered);
        Count("acked", "that a consumer has finished", static counts => counts.Acked);
        Count("nacked", "that a consumer has given back", static counts => counts.Nacked);
        Count("lapsed", "of which the lease ended before the consumer said anything", static counts => counts.Lapsed);
        Count(
            "dead_lettered",
            "that were given up: dead letters, where the group keeps those",
            static counts => counts.DeadLettered);
        Count("expired", "that were settled because their time to live was over", static counts => counts.Expired);
        Observe("lag", "Records that are not settled", static figures => figures.Lag);
        Observe("outstanding", "Records that consumers have", static figures => figures.Outstanding);
        Observe("delayed", "Records that come again, and are not due yet", static figures => figures.Delayed);
        _meter.CreateObservableGauge(
            "broker.groups.oldest.age",
            () => Figures().Select(static each => new Measurement<double>(
                each.Figures.OldestAge.TotalSeconds, new Tag("group", each.Group))),
            "s",
            "Age of the oldest record that is not settled; 0: none");
    }

    /// <summary>
    /// Says where the groups' state is known. Called at each scrape, some times, from any thread; must not block.
    /// </summary>
    public void Observe(Func<IEnumerable<ConsumerGroupFigures>> figures) => Volatile.Write(ref _figures, figures);

    /// <summary>What a group's figures are added to.</summary>
    /// <param name="number">The group's number; one that is made anew has a higher one.</param>
    /// <param name="name">Its name.</param>
    public ConsumerGroupCounts Of(int number, string name)
    {
        lock (_lock)
        {
            if (_own.TryGetValue(name, out var known))
            {
                _own[name] = (Math.Max(known.Number, number), known.Counts);
                return known.Counts;
            }

            if (_own.Count >= Limits.GroupsWithSeries)
            {
                _hasOthers = true;
                return _others;
            }

            var counts = new ConsumerGroupCounts();
            _own.Add(name, (number, counts));
            return counts;
        }
    }

    /// <summary>The group was deleted: the next one may have its series.</summary>
    public void Forget(int number, string name)
    {
        lock (_lock)
        {
            if (_own.TryGetValue(name, out var known) && known.Number <= number)
            {
                _own.Remove(name);
            }
        }
    }

    private void Count(string noun, string what, Func<ConsumerGroupCounts, long> count) =>
        _meter.CreateObservableCounter(
            $"broker.groups.{noun}.records",
            () => Counts().Select(each => new Measurement<long>(count(each.Counts), new Tag("group", each.Group))),
            "{record}",
            $"Records {what}");

    private void Observe(string noun, string description, Func<ConsumerGroupFigures, long> figure) =>
        _meter.CreateObservableGauge(
            $"broker.groups.{noun}",
            () => Figures().Select(each => new Measurement<long>(
                figure(each.Figures), new Tag("group", each.Group))),
            "{record}",
            description);

    private List<(string Group, ConsumerGroupCounts Counts)> Counts()
    {
        lock (_lock)
        {
            List<(string, ConsumerGroupCounts)> counts = [.. _own.Select(static each => (each.Key, each.Value.Counts))];
            if (_hasOthers)
            {
                counts.Add((Others, _others));
            }

            return counts;
        }
    }

    private List<(string Group, ConsumerGroupFigures Figures)> Figures()
    {
        var found = Volatile.Read(ref _figures)?.Invoke() ?? [];
        lock (_lock)
        {
            return
            [
                .. found.GroupBy(each => _own.ContainsKey(each.Group) ? each.Group : Others)
                    .Select(static same => (same.Key, same.Aggregate(static (one, other) => one.With(other)))),
            ];
        }
    }
}

/// <summary>What has happened to a group's records at this node since its start. Any thread.</summary>
public sealed class ConsumerGroupCounts
{
    private long _delivered;
    private long _redelivered;
    private long _acked;
    private long _nacked;
    private long _lapsed;
    private long _deadLettered;
    private long _expired;

    public long Delivered => Volatile.Read(ref _delivered);

    public long Redelivered => Volatile.Read(ref _redelivered);

    public long Acked => Volatile.Read(ref _acked);

    public long Nacked => Volatile.Read(ref _nacked);

    public long Lapsed => Volatile.Read(ref _lapsed);

    public long DeadLettered => Volatile.Read(ref _deadLettered);

    public long Expired => Volatile.Read(ref _expired);

    public void AddDelivered(int records, bool again)
    {
        Interlocked.Add(ref _delivered, records);
        Interlocked.Add(ref _redelivered, again ? records : 0);
    }

    public void AddSettled(long acked, long nacked, long lapsed, long deadLettered, long expired)
    {
        Interlocked.Add(ref _acked, acked);
        Interlocked.Add(ref _nacked, nacked);
        Interlocked.Add(ref _lapsed, lapsed);
        Interlocked.Add(ref _deadLettered, deadLettered);
        Interlocked.Add(ref _expired, expired);
    }
}

/// <summary>A group's state in one shard at a moment.</summary>
/// <param name="Group">Its name.</param>
/// <param name="Lag">Records that are not settled.</param>
/// <param name="Outstanding">Of these, at consumers.</param>
/// <param name="Delayed">Of these, those that come again and are not due yet.</param>
/// <param name="OldestAge">Of the oldest of them; zero: none, or unknown.</param>
public readonly record struct ConsumerGroupFigures(
    string Group, long Lag, long Outstanding, long Delayed, TimeSpan OldestAge)
{
    /// <summary>Of both together.</summary>
    internal ConsumerGroupFigures With(in ConsumerGroupFigures other) => new(
        Group,
        Lag + other.Lag,
        Outstanding + other.Outstanding,
        Delayed + other.Delayed,
        OldestAge > other.OldestAge ? OldestAge : other.OldestAge);
}
