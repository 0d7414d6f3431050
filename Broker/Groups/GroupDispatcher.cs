using System.Diagnostics.CodeAnalysis;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// A group in one shard, in the memory of the shard's leader: who has which records, what is delivered next, what comes
/// again and when. It does nothing by itself: time, topics, consumers, credit, and what they say of records come in;
/// records to deliver and commands to commit go out. What it forgets with its leader costs a delivery more, never a
/// record: the next leader begins with what is settled.
/// </summary>
internal sealed class GroupDispatcher
{
    /// <summary>
    /// Records that are given to one consumer at once: one batch of a producer in most cases, and little enough that
    /// others are not left without.
    /// </summary>
    public const int RunRecords = 1_000;

    private readonly GroupRecords _records;
    private bool _isFreshNext;

    /// <param name="term">The leader's term.</param>
    /// <param name="settings">How the group delivers.</param>
    /// <param name="firstLease">See <see cref="Leases"/>.</param>
    public GroupDispatcher(Term term, ConsumerGroupSettings settings, long firstLease = 1)
    {
        _records = new GroupRecords(term, settings, firstLease);
        Dying = new DyingRecords(_records);
        Settling = new GroupSettling(_records, Dying);
    }

    /// <summary>What consumers say of what they were given.</summary>
    public GroupSettling Settling { get; }

    /// <summary>Records that become dead letters, and what becomes of these.</summary>
    public DyingRecords Dying { get; }

    public ConsumerGroupSettings Settings
    {
        get => _records.Settings;
        set => _records.Settings = value;
    }

    /// <summary>The topics that the group follows here.</summary>
    public IReadOnlyCollection<int> Topics => _records.Topics;

    /// <summary>Records at consumers.</summary>
    public int Out => _records.Out;

    /// <summary>Ends of leases and of waits in memory, of those too that nothing depends on any more.</summary>
    public int Alarms => _records.Leases.Count + _records.Due.Count;

    /// <summary>What was counted since it was taken last.</summary>
    public GroupTally TakeTally()
    {
        var tally = _records.Tally;
        _records.Tally = default;
        return tally;
    }

    /// <summary>
    /// Begins with a topic, or begins anew because the group's place in it is another one: leases of before are void.
    /// </summary>
    /// <param name="topic">The topic's number in the shard.</param>
    /// <param name="progress">What the shard remembers; null: nothing yet.</param>
    /// <param name="next">The offset that the topic's next record will get.</param>
    /// <param name="nowUnixMs">The time.</param>
    /// <param name="isOfTheDead">See <see cref="DispatchLane.IsOfTheDead"/>.</param>
    public void Follow(int topic, GroupProgress? progress, long next, long nowUnixMs, bool isOfTheDead = false) =>
        _records.Follow(topic, progress, next, nowUnixMs, isOfTheDead);

    /// <summary>The topic is gone, or the group does not follow it any more.</summary>
    public void Unfollow(int topic) => _records.Unfollow(topic);

    /// <summary>More was committed in a topic.</summary>
    public void OnAppended(int topic, long next)
    {
        if (_records.TryGet(topic, out var lane))
        {
            lane.Next = Math.Max(lane.Next, next);
            _records.Queue(lane);
        }
    }

    /// <summary>
    /// Records of a topic were removed: those that nobody was given are settled at once, however many they are.
    /// </summary>
    public void OnPurged(int topic, long first)
    {
        if (_records.TryGet(topic, out var lane) && lane.Cursor < Math.Min(first, lane.Next))
        {
            lane.DropFresh(Math.Min(first, lane.Next), _records.ToSettle.Gather(lane));
        }
    }

    /// <param name="consumer">A number that no other consumer of this dispatcher had.</param>
    /// <param name="rank">Its place among those of an exclusive group.</param>
    /// <param name="name">For operators.</param>
    public void AddConsumer(int consumer, ConsumerRank rank = default, string name = "") =>
        _records.Consumers.Add(consumer, rank, name);

    /// <summary>What it was given stays its own until the leases end: it may settle from another stream.</summary>
    public void RemoveConsumer(int consumer) => _records.Consumers.Remove(consumer);

    /// <summary>A consumer may be given so much more.</summary>
    public void AddCredit(int consumer, int records, long bytes) =>
        _records.Consumers.AddCredit(consumer, records, bytes);

    /// <summary>What a consumer was sent came to so many bytes.</summary>
    public void Charge(int consumer, long bytes) => _records.Consumers.Charge(consumer, bytes);

    /// <summary>Takes the credit that a consumer has left.</summary>
    public (int Records, long Bytes) TakeCredit(int consumer) => _records.Consumers.TakeCredit(consumer);

    /// <summary>Records that a consumer holds, and what it may still be given.</summary>
    public (int Out, int Records, long Bytes) Describe(int consumer) => _records.Consumers.Describe(consumer);

    /// <summary>Whether a consumer is given records: of an exclusive group only one is.</summary>
    public bool IsServed(int consumer) => _records.Consumers.IsServed(consumer);

    /// <summary>
    /// There is something to give, and nobody who may be given it: consumers that have none left are to ask for more
    /// credit. Each is named once until it gets some.
    /// </summary>
    public void TakeHungry(long nowUnixMs, List<int> into)
    {
        if (MayGive(nowUnixMs) && !_records.Consumers.TryNext(out _))
        {
            _records.Consumers.TakeHungry(into);
        }
    }

    /// <summary>
    /// Consumers for which there is nothing now, but what they were given before: each is named once. To be asked when
    /// <see cref="TryGive"/> has said that nothing can be given, and all keys are looked up.
    /// </summary>
    public void TakeQuiet(long nowUnixMs, List<int> into) => _records.Consumers.TakeQuiet(MayGive(nowUnixMs), into);

    /// <summary>
    /// Records of which the keys must be known before any of them is delivered: they are given to
    /// <see cref="AddKeys"/>, all or the first of them. False: enough is known.
    /// </summary>
    public bool TryWantKeys(out int topic, out OffsetRange range)
    {
        (topic, range) = (0, default);
        return Settings.LooksAtKeys && _records.Consumers.Count > 0
            && _records.Lines.Runs < _records.Room && _records.Lines.TryWant(out topic, out range);
    }

    /// <summary>The keys of the first of those records, without gaps. A record that is gone has none.</summary>
    public void AddKeys(int topic, long first, ReadOnlySpan<RecordKey> keys)
    {
        if (Settings.LooksAtKeys && _records.TryGet(topic, out var lane))
        {
            _records.Lines.Add(lane, first, keys);
        }
    }

    /// <summary>Ends the leases whose time has come: their records were delivered in vain.</summary>
    public void PassTime(long nowUnixMs)
    {
        while (_records.Leases.TryTakeEnded(nowUnixMs, out var lease))
        {
            for (var offset = lease.Range.First; offset < lease.Range.End; offset++)
            {
                if (!lease.Lane.IsGone && lease.Lane.Records.TryGetValue(offset, out var record)
                    && ReferenceEquals(record.Lease, lease) && record.Publishing == 0)
                {
                    Settling.ComeBack(lease.Lane, offset, record, delayMs: null, nowUnixMs, request: null);
                }
            }
        }

        _records.Leases.DropIdle();
        _records.Due.DropIdle(_records.Known);
    }

    /// <summary>
    /// When to come again though nothing happens: a lease ends, a record is due, or something is tried once more.
    /// </summary>
    public long NextAlarmUnixMs(long nowUnixMs)
    {
        var next = Math.Min(_records.Leases.NextEndUnixMs, _records.Due.NextUnixMs(nowUnixMs));
        return Dying.IsAny || _records.ToSettle.IsAnyToTake ? Math.Min(next, nowUnixMs + SettleQueue.RetryMs) : next;
    }

    /// <summary>What a record is; for tests and operators.</summary>
    public string PlaceOf(int topic, long offset, long nowUnixMs) => _records[topic].PlaceOf(offset, nowUnixMs);

    /// <summary>How far the group is in a topic that it follows.</summary>
    public LaneReport Describe(int topic, long nowUnixMs) => _records[topic].Report(nowUnixMs);

    /// <summary>See <see cref="RecordPeek.Take"/>.</summary>
    public IReadOnlyList<PeekedOffset> Peek(int topic, PeekState state, long from, int most, long nowUnixMs) =>
        RecordPeek.Take(_records[topic], state, from, most, nowUnixMs);

    /// <summary>
    /// Gives the next records to the next consumer. They must be sent, or taken back by <see cref="Skip"/>,
    /// <see cref="Delay"/> or <see cref="TakeBack"/>. False: nothing can be given now.
    /// </summary>
    public bool TryGive(long nowUnixMs, out GivenRecords given)
    {
        given = default;
        var room = Settings.MaxOutstanding - Out;
        if (Settings.IsPaused || room <= 0 || !_records.Consumers.TryNext(out var consumer))
        {
            return false;
        }

        var most = Math.Min(Math.Min(room, consumer.Records), RunRecords);
        if (!TryTake(most, nowUnixMs, out var lane, out var range, out var attempt))
        {
            return false;
        }

        var lease = _records.Give(consumer, lane, range, attempt, nowUnixMs + Settings.AckWaitMs);
        given = new GivenRecords(
            consumer.Id,
            new DeliveryToken(
                lane.Topic, lane.Turn, _records.Term.Value, lease.Number, lease.DeadlineUnixMs, attempt, range));
        return true;
    }

    /// <summary>
    /// Records that were given and cannot be sent: they come again at once, as if they had not been given.
    /// </summary>
    public void TakeBack(in DeliveryToken token, OffsetRange range, long nowUnixMs) =>
        GiveUp(token, range, (lane, offset, record) => _records.Wait(lane, offset, record.Deliveries - 1, nowUnixMs));

    /// <summary>The same of a record that is not due yet.</summary>
    public void Delay(in DeliveryToken token, long offset, long dueUnixMs) => GiveUp(
        token,
        OffsetRange.One(offset),
        (lane, at, record) => _records.Wait(lane, at, record.Deliveries - 1, dueUnixMs));

    /// <summary>The same of records whose time to live is over: they are settled, and counted.</summary>
    public void Expire(in DeliveryToken token, OffsetRange range)
    {
        Skip(token, range);
        if (_records.TryGet(token.Topic, out var lane))
        {
            lane.Expired += range.Count;
            _records.Tally.Expired += range.Count;
        }
    }

    /// <summary>The same of records that are gone: they are settled.</summary>
    public void Skip(in DeliveryToken token, OffsetRange range) => GiveUp(
        token, range, (lane, offset, record) => _records.Settle(lane, offset, record.Deliveries));

    private void GiveUp(
        in DeliveryToken token, OffsetRange range, Action<DispatchLane, long, DispatchedRecord> then)
    {
        if (!_records.TryGet(token.Topic, token.Turn, out var lane))
        {
            return;
        }

        for (var offset = range.First; offset < range.End; offset++)
        {
            if (lane.Records.TryGetValue(offset, out var record) && record.Lease?.Number == token.Lease)
            {
                AddCredit(record.Lease.By.Id, 1, 0);
                _records.Release(lane, record);
                then(lane, offset, record);
            }
        }
    }

    /// <summary>
    /// Of one priority neither those that come again and again nor the many new ones keep the others waiting.
    /// </summary>
    private bool TryTake(
        int most, long nowUnixMs, [NotNullWhen(true)] out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (lane, range, attempt) = (null, default, 0);
        _records.Due.Sort(nowUnixMs);
        for (var priority = Settings.GoesByPriority ? KeyLines.Priorities - 1 : 0; priority >= 0; priority--)
        {
            var isFresh = _isFreshNext;
            if (TryTake(isFresh, priority, most, nowUnixMs, out lane, out range, out attempt)
                || TryTake(isFresh = !isFresh, priority, most, nowUnixMs, out lane, out range, out attempt))
            {
                _isFreshNext = !isFresh;
                return true;
            }
        }

        return false;
    }

    private bool TryTake(
        bool isFresh,
        int priority,
        int most,
        long nowUnixMs,
        [NotNullWhen(true)] out DispatchLane? lane,
        out OffsetRange range,
        out int attempt) => isFresh
        ? TryTakeFresh(most, priority, out lane, out range, out attempt)
        : TryTakeWaiting(most, priority, nowUnixMs, out lane, out range, out attempt);

    private bool TryTakeFresh(
        int most, int priority, [NotNullWhen(true)] out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (range, attempt) = (default, 1);
        lane = null;

        // Holes behind which others are settled are what the shard must remember.
        most = Math.Min(most, _records.Room);
        if (Settings.LooksAtKeys)
        {
            var isLined = most > 0 && _records.Lines.TryTake(most, priority, out lane, out range);
            _records.NoteTaken((int)range.Count);
            return isLined;
        }

        for (var left = _records.Fresh.Count; left > 0 && most > 0; left--)
        {
            lane = _records.Fresh.Dequeue();
            lane.IsQueued = false;
            if (!lane.IsGone && lane.HasFresh && !IsOutOfTurn(lane))
            {
                range = lane.TakeFresh(most);
                _records.NoteTaken((int)range.Count);
                _records.Queue(lane);
                return true;
            }

            _records.Queue(lane);
        }

        return false;
    }

    /// <summary>
    /// One consumer gets a topic in order: nothing new before what came back, nor before what its predecessor has.
    /// </summary>
    private bool IsOutOfTurn(DispatchLane lane) =>
        _records.Consumers.Active is { } active && (lane.Back > 0 || lane.Out > active.Held(lane));

    private bool TryTakeWaiting(
        int most,
        int priority,
        long nowUnixMs,
        [NotNullWhen(true)] out DispatchLane? lane,
        out OffsetRange range,
        out int attempt)
    {
        (lane, range, attempt) = (null, default, 0);
        while (_records.Due.TryPeek(priority, nowUnixMs, out var next) && range.Count < most)
        {
            var isWaiting = _records.Due.IsToCome(next, priority, out var record);
            if (isWaiting && Settling.IsTriedEnough(record.Deliveries))
            {
                Settling.Bury(next.Lane, next.Offset, record, null, null);
                isWaiting = false;
            }

            if (isWaiting && lane is null)
            {
                (lane, range, attempt) = (next.Lane, OffsetRange.One(next.Offset), record.Deliveries + 1);
            }
            else if (isWaiting && lane == next.Lane && next.Offset == range.End && record.Deliveries + 1 == attempt)
            {
                range = range with { End = range.End + 1 };
            }
            else if (isWaiting)
            {
                break;
            }

            _records.Due.Drop(priority);
        }

        return lane is not null;
    }

    private bool MayGive(long nowUnixMs) => !Settings.IsPaused && Out < Settings.MaxOutstanding
        && (_records.Fresh.TryPeek(out _) || _records.Lines.IsAny || _records.Due.IsAny(nowUnixMs));
}
