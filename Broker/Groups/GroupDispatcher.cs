using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// A group in one shard, in the memory of the shard's leader: who has which records, what is delivered next, what comes
/// again and when. It does nothing by itself: time, topics, consumers, credit, and what they say of records come in;
/// records to deliver and commands to commit go out. What it forgets with its leader costs a delivery more, never a
/// record: the next leader begins with what is settled.
/// </summary>
/// <param name="term">The leader's term.</param>
/// <param name="settings">How the group delivers.</param>
/// <param name="firstLease">
/// Leases are numbered from it: of one leader no two are to be the same, even if it begins anew with a group.
/// </param>
internal sealed partial class GroupDispatcher(Term term, ConsumerGroupSettings settings, long firstLease = 1)
{
    /// <summary>
    /// Records that are given to one consumer at once: one batch of a producer in most cases, and little enough that
    /// others are not left without.
    /// </summary>
    public const int RunRecords = 1_000;

    private const int MostIdleAlarms = 1_000;

    private readonly Dictionary<int, DispatchLane> _lanes = [];
    private readonly Dictionary<int, GroupConsumer> _consumers = [];

    // They were not named by TakeQuiet yet.
    private readonly List<GroupConsumer> _newcomers = [];

    // By turns. A consumer stands in it once while it has credit, a lane while something in it is fresh.
    private readonly Queue<GroupConsumer> _ready = [];
    private readonly Queue<DispatchLane> _fresh = [];

    // What was changed since it was put in says nothing any more: it is passed over when its time comes.
    private readonly PriorityQueue<(DispatchLane Lane, long Offset, long DueUnixMs), (long DueUnixMs, long Offset)>
        _waiting = new();

    private readonly PriorityQueue<Lease, long> _leases = new();
    private long _lastLease = firstLease - 1;
    private GroupTally _tally;
    private int _liveLeases;
    private int _out;
    private int _known;
    private bool _isFreshNext;

    // Of an exclusive group: who gets everything, which is whoever opened first.
    private GroupConsumer? _active;

    private ConsumerGroupSettings _settings = settings;

    /// <summary>What was counted since it was taken last.</summary>
    public GroupTally TakeTally()
    {
        var tally = _tally;
        _tally = default;
        return tally;
    }

    public ConsumerGroupSettings Settings
    {
        get => _settings;
        set
        {
            var isOther = value.Mode != _settings.Mode || value.Order != _settings.Order;
            _settings = value;
            if (isOther)
            {
                BeginLines();
                _active = FirstOpened();
            }
        }
    }

    /// <summary>Records at consumers.</summary>
    public int Out => _out;

    /// <summary>Ends of leases and of waits in memory, of those too that nothing depends on any more.</summary>
    public int Alarms => _leases.Count + _waiting.Count + _due.Sum(static queue => queue.Count);

    /// <summary>
    /// Begins with a topic, or begins anew because the group's place in it is another one: leases of before are void.
    /// </summary>
    /// <param name="topic">The topic's number in the shard.</param>
    /// <param name="progress">What the shard remembers; null: nothing yet.</param>
    /// <param name="next">The offset that the topic's next record will get.</param>
    /// <param name="nowUnixMs">The time.</param>
    /// <param name="isOfTheDead">See <see cref="DispatchLane.IsOfTheDead"/>.</param>
    public void Follow(int topic, GroupProgress? progress, long next, long nowUnixMs, bool isOfTheDead = false)
    {
        Unfollow(topic);
        var lane = new DispatchLane(topic, progress?.Turn ?? 0, next, isOfTheDead);
        lane.Begin(progress, nowUnixMs);
        _lanes.Add(topic, lane);
        BeginKeys(lane);
        _known += lane.Records.Count;
        foreach (var (offset, record) in lane.Records)
        {
            _waiting.Enqueue((lane, offset, record.DueUnixMs), (record.DueUnixMs, offset));
        }

        Queue(lane);
    }

    /// <summary>The topic is gone, or the group does not follow it any more.</summary>
    public void Unfollow(int topic)
    {
        if (!_lanes.Remove(topic, out var lane))
        {
            return;
        }

        lane.IsGone = true;
        EndLines(lane);
        foreach (var record in lane.Records.Values)
        {
            Leave(record.Lease);
        }

        _out -= lane.Out;
        _known -= lane.Records.Count;
        foreach (var consumer in _consumers.Values)
        {
            consumer.Forget(lane);
        }

        AnswerAll(lane);
    }

    /// <summary>More was committed in a topic.</summary>
    public void OnAppended(int topic, long next)
    {
        if (_lanes.TryGetValue(topic, out var lane))
        {
            lane.Next = Math.Max(lane.Next, next);
            Queue(lane);
        }
    }

    /// <summary>
    /// Records of a topic were removed: those that nobody was given are settled at once, however many they are.
    /// </summary>
    public void OnPurged(int topic, long first)
    {
        if (_lanes.TryGetValue(topic, out var lane) && lane.Cursor < Math.Min(first, lane.Next))
        {
            lane.DropFresh(Math.Min(first, lane.Next), Gather(lane));
        }
    }

    /// <param name="consumer">A number that no other consumer of this dispatcher had.</param>
    /// <param name="rank">Its place among those of an exclusive group.</param>
    /// <param name="name">For operators.</param>
    public void AddConsumer(int consumer, ConsumerRank rank = default, string name = "")
    {
        var added = new GroupConsumer(consumer, rank, name);
        _consumers.Add(consumer, added);
        _newcomers.Add(added);
        _active = FirstOpened();
    }

    /// <summary>What it was given stays its own until the leases end: it may settle from another stream.</summary>
    public void RemoveConsumer(int consumer)
    {
        if (_consumers.Remove(consumer, out var gone))
        {
            gone.IsGone = true;
            _newcomers.Remove(gone);
            _active = FirstOpened();
        }
    }

    /// <summary>A consumer may be given so much more.</summary>
    public void AddCredit(int consumer, int records, long bytes)
    {
        if (_consumers.TryGetValue(consumer, out var known))
        {
            known.Records = Math.Min(known.Records + records, Limits.GroupCreditRecords);
            known.Bytes = Math.Min(known.Bytes + bytes, Limits.GroupCreditBytes);
            known.IsHungry = known.IsHungry && !known.MayBeGiven;
            Queue(known);
        }
    }

    /// <summary>What a consumer was sent came to so many bytes.</summary>
    public void Charge(int consumer, long bytes)
    {
        if (_consumers.TryGetValue(consumer, out var known))
        {
            known.Bytes -= bytes;
        }
    }

    /// <summary>Ends the leases whose time has come: their records were delivered in vain.</summary>
    public void PassTime(long nowUnixMs)
    {
        while (_leases.TryPeek(out var lease, out var deadline) && deadline <= nowUnixMs)
        {
            _leases.Dequeue();
            for (var offset = lease.Range.First; offset < lease.Range.End; offset++)
            {
                if (!lease.Lane.IsGone && lease.Lane.Records.TryGetValue(offset, out var record)
                    && ReferenceEquals(record.Lease, lease) && record.Publishing == 0)
                {
                    ComeBack(lease.Lane, offset, record, delayMs: null, nowUnixMs, request: null);
                }
            }
        }

        DropAlarms();
    }

    /// <summary>What a record is; for tests and operators.</summary>
    public string PlaceOf(int topic, long offset, long nowUnixMs)
    {
        var lane = _lanes[topic];
        return lane.Records.TryGetValue(offset, out var record)
            ? record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs ? "Delayed"
            : record.Publishing > 0 ? "Publishing"
            : $"{record.State}"
            : lane.IsFresh(offset) ? "Fresh"
            : offset < lane.Next ? "Settled"
            : "None";
    }

    private GroupConsumer? FirstOpened() => Settings.Mode == ConsumerGroupMode.Exclusive
        ? _consumers.Values.MinBy(static consumer => (consumer.Rank, consumer.Id))
        : null;

    private void Queue(DispatchLane lane)
    {
        if (Settings.LooksAtKeys)
        {
            WantKeys(lane);
        }
        else if (!lane.IsQueued && !lane.IsGone && lane.HasFresh)
        {
            lane.IsQueued = true;
            _fresh.Enqueue(lane);
        }
    }

    private void Queue(GroupConsumer consumer)
    {
        if (!consumer.IsQueued && consumer.MayBeGiven)
        {
            consumer.IsQueued = true;
            _ready.Enqueue(consumer);
        }
    }

    private void Release(DispatchLane lane, in DispatchedRecord record)
    {
        if (record.State == RecordState.Out)
        {
            Leave(record.Lease);
            lane.Out--;
            _out--;
            if (_consumers.TryGetValue(record.Lease!.By.Id, out var consumer))
            {
                consumer.Hold(lane, -1);
            }
        }
    }

    private void Leave(Lease? lease)
    {
        if (lease is not null && --lease.Left == 0)
        {
            _liveLeases--;
        }
    }

    /// <summary>
    /// With long leases and quick consumers most ends of leases say nothing when they come: they go when they are too
    /// many.
    /// </summary>
    private void DropAlarms()
    {
        if (_leases.Count > (2 * _liveLeases) + MostIdleAlarms)
        {
            var live = _leases.UnorderedItems.Where(static each => each.Element.Left > 0).ToArray();
            _leases.Clear();
            _leases.EnqueueRange(live);
        }

        if (_waiting.Count > (2 * _known) + MostIdleAlarms)
        {
            var live = _waiting.UnorderedItems.Where(static each => !each.Element.Lane.IsGone
                && each.Element.Lane.Records.TryGetValue(each.Element.Offset, out var record)
                && record.State == RecordState.Waiting && record.DueUnixMs == each.Element.DueUnixMs).ToArray();
            _waiting.Clear();
            _waiting.EnqueueRange(live);
        }

        DropIdleDue();
    }

    private static void Put(DispatchLane lane, long offset, in DispatchedRecord record) => lane.Put(offset, record);

    private void Wait(DispatchLane lane, long offset, int deliveries, long dueUnixMs)
    {
        Put(lane, offset, new DispatchedRecord
        {
            State = RecordState.Waiting,
            Deliveries = deliveries,
            DueUnixMs = dueUnixMs,
        });
        _waiting.Enqueue((lane, offset, dueUnixMs), (dueUnixMs, offset));
    }
}
