namespace Broker.Delivery;

/// <summary>
/// The groups of a shard that have something to do: in this turn, in the next one, or when their alarms are due. Used
/// in the turns of a <see cref="ShardGroups"/> alone.
/// </summary>
/// <param name="shard">Its clock, and what wakes it.</param>
internal sealed class ServingQueue(ShardPlace shard)
{
    private readonly HashSet<GroupServing> _touched = [];
    private readonly PriorityQueue<GroupServing, long> _alarms = new();

    /// <summary>A group has something to do in this turn, or the next one.</summary>
    public void Touch(GroupServing serving)
    {
        if (_touched.Add(serving))
        {
            shard.News.Wake();
        }
    }

    /// <summary>A group is to work then though nothing happens; one alarm each, the first.</summary>
    public void SetAlarm(GroupServing serving, long atUnixMs)
    {
        if (atUnixMs < serving.AlarmUnixMs)
        {
            serving.AlarmUnixMs = atUnixMs;
            _alarms.Enqueue(serving, atUnixMs);
        }
    }

    /// <summary>Those of which the alarms are due have something to do.</summary>
    public void TakeAlarms()
    {
        var now = shard.NowUnixMs;
        while (_alarms.TryPeek(out var serving, out var at) && at <= now)
        {
            _alarms.Dequeue();
            if (serving.AlarmUnixMs <= now)
            {
                serving.AlarmUnixMs = long.MaxValue;
                Touch(serving);
            }
        }
    }

    /// <summary>Takes those that have something to do in this turn.</summary>
    public GroupServing[] TakeTouched()
    {
        GroupServing[] work = [.. _touched];
        _touched.Clear();
        return work;
    }

    /// <summary>How long nothing is to be done unless something happens; -1: without end.</summary>
    public long FindWaitMs() =>
        _alarms.TryPeek(out _, out var next) ? Math.Clamp(next - shard.NowUnixMs, 1, int.MaxValue) : -1;

    /// <summary>It is not served any more. An alarm that it has set stays.</summary>
    public void Remove(GroupServing serving) => _touched.Remove(serving);

    public void Clear()
    {
        _touched.Clear();
        _alarms.Clear();
    }
}
