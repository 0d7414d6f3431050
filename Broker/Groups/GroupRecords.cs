using System.Diagnostics.CodeAnalysis;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// The records of a group in one shard that are not fresh, and where each is: at a consumer, waiting, or about to be
/// finished. What is said of them, and who is given them, is decided by <see cref="GroupSettling"/>,
/// <see cref="DyingRecords"/> and <see cref="GroupDispatcher"/>.
/// </summary>
internal sealed class GroupRecords
{
    private readonly Dictionary<int, DispatchLane> _lanes = [];

    private ConsumerGroupSettings _settings;
    private GroupTally _tally;

    public GroupRecords(Term term, ConsumerGroupSettings settings, long firstLease)
    {
        Term = term;
        _settings = settings;
        Consumers = new ConsumerTurns(settings.Mode);
        Leases = new Leases(firstLease);
        Due = new DueRecords(settings);
        Lines = new KeyLines(settings, Due);
    }

    /// <summary>The leader's.</summary>
    public Term Term { get; }

    public ConsumerGroupSettings Settings
    {
        get => _settings;
        set
        {
            var isOther = value.Mode != _settings.Mode || value.Order != _settings.Order;
            _settings = value;
            if (isOther)
            {
                Lines.Begin(value, _lanes.Values);
                foreach (var lane in _lanes.Values)
                {
                    Queue(lane);
                }

                Consumers.Mode = value.Mode;
            }
        }
    }

    public ConsumerTurns Consumers { get; }

    public Leases Leases { get; }

    public DueRecords Due { get; }

    public KeyLines Lines { get; }

    public SettleQueue ToSettle { get; } = new();

    /// <summary>By turns: a lane stands in it once while something in it is fresh.</summary>
    public Queue<DispatchLane> Fresh { get; } = [];

    /// <summary>The topics that the group follows here.</summary>
    public IReadOnlyCollection<int> Topics => _lanes.Keys;

    /// <summary>Records at consumers.</summary>
    public int Out { get; private set; }

    /// <summary>All records that are not fresh.</summary>
    public int Known { get; private set; }

    /// <summary>Records of which the shard has room to remember that they are not settled.</summary>
    public int Room => Limits.GroupOutstandingPerShard - Known;

    public ref GroupTally Tally => ref _tally;

    public DispatchLane this[int topic] => _lanes[topic];

    public bool TryGet(int topic, [NotNullWhen(true)] out DispatchLane? lane) => _lanes.TryGetValue(topic, out lane);

    /// <summary>The same, if the group's place in the topic is still the one of then.</summary>
    public bool TryGet(int topic, int turn, [NotNullWhen(true)] out DispatchLane? lane) =>
        _lanes.TryGetValue(topic, out lane) && lane.Turn == turn;

    /// <inheritdoc cref="GroupDispatcher.Follow"/>
    public void Follow(int topic, GroupProgress? progress, long next, long nowUnixMs, bool isOfTheDead)
    {
        Unfollow(topic);
        var lane = new DispatchLane(topic, progress?.Turn ?? 0, next, isOfTheDead);
        lane.Begin(progress, nowUnixMs);
        _lanes.Add(topic, lane);
        Lines.Begin(lane);
        Known += lane.Records.Count;
        foreach (var (offset, record) in lane.Records)
        {
            Due.Add(lane, offset, record.DueUnixMs);
        }

        Queue(lane);
    }

    /// <inheritdoc cref="GroupDispatcher.Unfollow"/>
    public void Unfollow(int topic)
    {
        if (!_lanes.Remove(topic, out var lane))
        {
            return;
        }

        lane.IsGone = true;
        Lines.End(lane);
        foreach (var record in lane.Records.Values)
        {
            Leases.Leave(record.Lease);
        }

        Out -= lane.Out;
        Known -= lane.Records.Count;
        Consumers.Forget(lane);
        ToSettle.AnswerAll(lane);
    }

    /// <summary>Something in it may be fresh.</summary>
    public void Queue(DispatchLane lane)
    {
        if (Settings.LooksAtKeys)
        {
            Lines.Want(lane);
        }
        else if (!lane.IsQueued && !lane.IsGone && lane.HasFresh)
        {
            lane.IsQueued = true;
            Fresh.Enqueue(lane);
        }
    }

    /// <summary>So many fresh records were taken out of a lane, and are put in a moment.</summary>
    public void NoteTaken(int count) => Known += count;

    /// <summary>A record is fresh no more, out of its turn.</summary>
    public void TakeFreshAt(DispatchLane lane, long offset)
    {
        lane.TakeFreshAt(offset);
        Known++;
    }

    /// <summary>Records are a consumer's from now on.</summary>
    public Lease Give(GroupConsumer consumer, DispatchLane lane, OffsetRange range, int attempt, long deadlineUnixMs)
    {
        var count = (int)range.Count;
        var lease = Leases.Begin(consumer, lane, range, deadlineUnixMs);
        for (var offset = range.First; offset < range.End; offset++)
        {
            lane.Put(offset, new DispatchedRecord
            {
                State = RecordState.Out,
                Deliveries = attempt,
                Lease = lease,
            });
        }

        lane.Redeliveries += attempt > 1 ? count : 0;
        lane.Out += count;
        Out += count;
        Consumers.Give(consumer, lane, count);
        return lease;
    }

    /// <summary>A record is at its consumer no more, if it was.</summary>
    public void Release(DispatchLane lane, in DispatchedRecord record)
    {
        if (record.State == RecordState.Out)
        {
            Leases.Leave(record.Lease);
            lane.Out--;
            Out--;
            Consumers.Release(record.Lease!.By, lane);
        }
    }

    /// <summary>It is delivered again then.</summary>
    public void Wait(DispatchLane lane, long offset, int deliveries, long dueUnixMs)
    {
        lane.Put(offset, new DispatchedRecord
        {
            State = RecordState.Waiting,
            Deliveries = deliveries,
            DueUnixMs = dueUnixMs,
        });
        Due.Add(lane, offset, dueUnixMs);
    }

    /// <summary>It is finished as soon as the batch is committed, which whoever asked for it may wait for.</summary>
    public SettleBatch Settle(DispatchLane lane, long offset, int deliveries)
    {
        lane.Put(offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = deliveries });
        var batch = ToSettle.Gather(lane);
        batch.Add(OffsetRange.One(offset));
        return batch;
    }

    /// <summary>It is finished: what stood behind it goes on. False: nothing was known of it.</summary>
    public bool Remove(DispatchLane lane, long offset, out DispatchedRecord record)
    {
        var isKnown = lane.Remove(offset, out record);
        if (isKnown)
        {
            Known--;
            Lines.GoOn(record.Line, offset);
        }

        return isKnown;
    }
}
