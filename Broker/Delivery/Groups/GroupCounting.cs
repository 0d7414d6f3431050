using Broker.Diagnostics;

namespace Broker.Delivery;

/// <summary>
/// The state of all groups of a shard for the metrics. It is counted only when somebody collects them, in turns between
/// which the others have theirs. Used in the turns of a <see cref="ShardGroups"/>, but for what says that any thread
/// may call it.
/// </summary>
/// <param name="shard">Its clock, and what wakes it.</param>
/// <param name="turns">Where it is asked for a count.</param>
/// <param name="servings">The groups that are served, by number.</param>
internal sealed class GroupCounting(
    ShardPlace shard, ShardTurns turns, IReadOnlyDictionary<int, GroupServing> servings)
{
    private static readonly TimeSpan CountTurn = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan CountInterval = TimeSpan.FromSeconds(1);

    private readonly Lock _counting = new();
    private readonly Queue<GroupServing> _toCount = new();
    private readonly List<ConsumerGroupFigures> _counted = [];
    private bool _isCounting;
    private TaskCompletionSource? _count;
    private long _countedAt;
    private volatile IReadOnlyList<ConsumerGroupFigures> _figures = [];

    /// <summary>As they were counted last; empty while another node leads. Any thread.</summary>
    public IReadOnlyList<ConsumerGroupFigures> Figures => _figures;

    /// <summary>Has them counted, unless they were just now; done when they are. Any thread; does not block.</summary>
    /// <param name="begin">Is called in a turn; it calls <see cref="Begin"/> or <see cref="End"/>.</param>
    public Task CountAsync(Action begin)
    {
        lock (_counting)
        {
            if (_count is null && (_countedAt == 0 || shard.Time.GetElapsedTime(_countedAt) >= CountInterval))
            {
                _count = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                turns.Post(begin);
            }

            return _count?.Task ?? Task.CompletedTask;
        }
    }

    /// <summary>All that are served now are counted, in this turn and those behind it.</summary>
    public void Begin()
    {
        _counted.Clear();
        _toCount.Clear();
        _isCounting = true;
        foreach (var serving in servings.Values)
        {
            _toCount.Enqueue(serving);
        }
    }

    /// <summary>Counts as many as one turn has time for.</summary>
    public void CountSome()
    {
        if (!_isCounting)
        {
            return;
        }

        var began = shard.Time.GetTimestamp();
        while (_toCount.TryDequeue(out var serving))
        {
            if (serving.IsLoaded && servings.GetValueOrDefault(serving.Group.Number) == serving)
            {
                _counted.Add(serving.Figures());
            }

            if (_toCount.Count > 0 && shard.Time.GetElapsedTime(began) > CountTurn)
            {
                shard.News.Wake();
                return;
            }
        }

        End([.. _counted]);
    }

    /// <summary>These are the figures; of a count that is under way nothing more comes.</summary>
    public void End(IReadOnlyList<ConsumerGroupFigures> figures)
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
