using Broker.Diagnostics;

namespace Broker.Delivery;

/// <content>
/// The state of all groups for the metrics. It is counted only when somebody collects them, in turns between which the
/// others have theirs.
/// </content>
internal sealed partial class ShardGroups
{
    /// <summary>A group that nobody asked for is served from then on; not all of them at once.</summary>
    private const int ServedAtOnce = 100;

    private static readonly TimeSpan CountTurn = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan CountInterval = TimeSpan.FromSeconds(1);

    private readonly Lock _counting = new();
    private readonly Queue<GroupServing> _toCount = new();
    private readonly List<ConsumerGroupFigures> _counted = [];
    private bool _isCounting;
    private TaskCompletionSource? _count;
    private long _countedAt;
    private volatile IReadOnlyList<ConsumerGroupFigures> _figures = [];

    /// <summary>As they were counted last; empty while another node leads.</summary>
    public IReadOnlyList<ConsumerGroupFigures> Figures => _figures;

    /// <summary>Has them counted, unless they were just now; done when they are. Any thread; does not block.</summary>
    public Task CountAsync()
    {
        lock (_counting)
        {
            if (_count is null && (_countedAt == 0 || shard.Time.GetElapsedTime(_countedAt) >= CountInterval))
            {
                _count = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Post(BeginCounting);
            }

            return _count?.Task ?? Task.CompletedTask;
        }
    }

    private void BeginCounting()
    {
        _counted.Clear();
        _toCount.Clear();
        if (_term == default || !Leads)
        {
            EndCounting([]);
            return;
        }

        // What nobody consumes has a lag, too.
        foreach (var number in shard.Groups().ByNumber.Keys.Where(each => !_servings.ContainsKey(each))
            .Take(ServedAtOnce))
        {
            TryServe(number, out _, out _);
        }

        _isCounting = true;
        foreach (var serving in _servings.Values)
        {
            _toCount.Enqueue(serving);
        }
    }

    private void CountSome()
    {
        if (!_isCounting)
        {
            return;
        }

        var began = shard.Time.GetTimestamp();
        while (_toCount.TryDequeue(out var serving))
        {
            if (serving.IsLoaded && _servings.GetValueOrDefault(serving.Group.Number) == serving)
            {
                _counted.Add(serving.Figures());
            }

            if (_toCount.Count > 0 && shard.Time.GetElapsedTime(began) > CountTurn)
            {
                shard.News.Wake();
                return;
            }
        }

        EndCounting([.. _counted]);
    }

    private void EndCounting(IReadOnlyList<ConsumerGroupFigures> figures)
    {
        _isCounting = false;
        _toCount.Clear();
        _figures = figures;
        lock (_counting)
        {
            _countedAt = shard.Time.GetTimestamp();
            _count?.TrySetResult();
            _count = null;
        }
    }
}
