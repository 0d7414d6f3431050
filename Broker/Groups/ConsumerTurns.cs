using System.Diagnostics.CodeAnalysis;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>The consumers of a group at one leader: who may be given something, by turns.</summary>
/// <param name="mode">How the group delivers.</param>
internal sealed class ConsumerTurns(ConsumerGroupMode mode)
{
    private readonly Dictionary<int, GroupConsumer> _all = [];

    // They were not named by TakeQuiet yet.
    private readonly List<GroupConsumer> _newcomers = [];

    // A consumer stands in it once while it has credit.
    private readonly Queue<GroupConsumer> _ready = [];

    private ConsumerGroupMode _mode = mode;

    public int Count => _all.Count;

    /// <summary>Of an exclusive group: who gets everything, which is whoever opened first.</summary>
    public GroupConsumer? Active { get; private set; }

    public ConsumerGroupMode Mode
    {
        set
        {
            _mode = value;
            Active = FirstOpened();
        }
    }

    public void Add(int consumer, ConsumerRank rank, string name)
    {
        var added = new GroupConsumer(consumer, rank, name);
        _all.Add(consumer, added);
        _newcomers.Add(added);
        Active = FirstOpened();
    }

    public void Remove(int consumer)
    {
        if (_all.Remove(consumer, out var gone))
        {
            gone.IsGone = true;
            _newcomers.Remove(gone);
            Active = FirstOpened();
        }
    }

    public void AddCredit(int consumer, int records, long bytes)
    {
        if (_all.TryGetValue(consumer, out var known))
        {
            known.Records = Math.Min(known.Records + records, Limits.GroupCreditRecords);
            known.Bytes = Math.Min(known.Bytes + bytes, Limits.GroupCreditBytes);
            known.IsHungry = known.IsHungry && !known.MayBeGiven;
            Queue(known);
        }
    }

    public void Charge(int consumer, long bytes)
    {
        if (_all.TryGetValue(consumer, out var known))
        {
            known.Bytes -= bytes;
        }
    }

    public (int Records, long Bytes) TakeCredit(int consumer)
    {
        if (!_all.TryGetValue(consumer, out var known))
        {
            return default;
        }

        var left = (known.Records, known.Bytes);
        (known.Records, known.Bytes) = (0, 0);
        return left;
    }

    public (int Out, int Records, long Bytes) Describe(int consumer) =>
        _all.TryGetValue(consumer, out var known) ? (known.Out, known.Records, known.Bytes) : default;

    public bool IsServed(int consumer) => _all.ContainsKey(consumer) && (Active is null || Active.Id == consumer);

    /// <summary>Whose turn it is; false: nobody may be given anything.</summary>
    public bool TryNext([NotNullWhen(true)] out GroupConsumer? consumer)
    {
        if (Active is not null)
        {
            consumer = Active;
            return consumer.MayBeGiven;
        }

        while (_ready.TryPeek(out consumer))
        {
            if (consumer.MayBeGiven)
            {
                return true;
            }

            _ready.Dequeue();
            consumer.IsQueued = false;
        }

        return false;
    }

    /// <summary>The one whose turn it is was given records of a topic.</summary>
    public void Give(GroupConsumer consumer, DispatchLane lane, int count)
    {
        if (Active is null)
        {
            _ready.Dequeue();
            consumer.IsQueued = false;
        }

        consumer.Records -= count;
        consumer.Hold(lane, count);
        Queue(consumer);
    }

    /// <summary>A record is at its consumer no more.</summary>
    public void Release(GroupConsumer by, DispatchLane lane)
    {
        if (_all.TryGetValue(by.Id, out var consumer))
        {
            consumer.Hold(lane, -1);
        }
    }

    /// <summary>The topic is gone.</summary>
    public void Forget(DispatchLane lane)
    {
        foreach (var consumer in _all.Values)
        {
            consumer.Forget(lane);
        }
    }

    /// <summary>Those that could be given something if they had credit: each once until it gets some.</summary>
    public void TakeHungry(List<int> into)
    {
        foreach (var consumer in _all.Values)
        {
            if (!consumer.IsHungry && (Active is null || consumer == Active))
            {
                consumer.IsHungry = true;
                into.Add(consumer.Id);
            }
        }
    }

    /// <summary>Each newcomer once, when there is nothing for it.</summary>
    /// <param name="mayGive">There is something for who has credit.</param>
    /// <param name="into">Gets their numbers.</param>
    public void TakeQuiet(bool mayGive, List<int> into)
    {
        if (_newcomers.Count == 0)
        {
            return;
        }

        // One that lacks credit only may get some.
        var isQuiet = !mayGive || TryNext(out _);
        foreach (var consumer in _newcomers.ToArray())
        {
            if (isQuiet || (Active is not null && consumer != Active))
            {
                _newcomers.Remove(consumer);
                into.Add(consumer.Id);
            }
        }
    }

    private GroupConsumer? FirstOpened() => _mode == ConsumerGroupMode.Exclusive
        ? _all.Values.MinBy(static consumer => (consumer.Rank, consumer.Id))
        : null;

    private void Queue(GroupConsumer consumer)
    {
        if (!consumer.IsQueued && consumer.MayBeGiven)
        {
            consumer.IsQueued = true;
            _ready.Enqueue(consumer);
        }
    }
}
