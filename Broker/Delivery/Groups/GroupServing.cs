using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// One consumer group at the leader of a shard: feeds its dispatcher with topics and time, sends out what it gives, and
/// has committed what it settles. Everything happens in the turn of its <see cref="ShardGroups"/>.
/// </summary>
internal sealed partial class GroupServing(
    ShardGroups host, ShardPlace shard, ConsumerGroup group, Term term, long firstLease)
{
    /// <summary>Then the others have their turn.</summary>
    private const int RunsAtOnce = 64;

    private const int DyingAtOnce = 100;
    private const long RetryMs = 500;

    private readonly GroupDispatcher _dispatcher = new(term, group.Settings, firstLease);
    private readonly Dictionary<int, ShardConsumer> _consumers = [];
    private readonly Dictionary<int, string> _places = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly Dictionary<long, Action<int, BrokerException?>> _settles = [];
    private readonly List<(Action Then, Action<BrokerException>? Failed)> _whenLoaded = [];
    private readonly List<int> _named = [];
    private readonly ConsumerGroupCounts _counts = shard.Metrics.Of(group.Number, group.Name);
    private readonly (int Partition, string Place) _dead = DeadLetters.PlaceOf(group.Name, shard.Id, shard.Shards);
    private GroupFilters _filters = new(group.Settings.Filters);
    private IReadOnlyDictionary<int, GroupProgress> _progress = new Dictionary<int, GroupProgress>();
    private volatile bool _isCaughtUp;
    private int _loads;
    private bool _isKnown;
    private long _nextSettle;
    private long _deadLettersAskedAt;

    public ConsumerGroup Group { get; private set; } = group;

    /// <summary>Until the shard says where the group begins nothing is delivered.</summary>
    public bool IsLoaded { get; private set; }

    /// <summary>
    /// The thread that applies has applied all that leaders before this one have committed: what it says from then on
    /// is all that is settled.
    /// </summary>
    public bool IsCaughtUp
    {
        get => _isCaughtUp;
        set => _isCaughtUp = value;
    }

    /// <summary>When it is to work though nothing happens; of its host's queue.</summary>
    public long AlarmUnixMs { get; set; } = long.MaxValue;

    public IEnumerable<ShardConsumer> Consumers => _consumers.Values;

    private long Now => shard.Time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Does something as soon as the group is loaded; or, if it ends before, says why.</summary>
    public void WhenLoaded(Action then, Action<BrokerException>? failed = null)
    {
        if (IsLoaded)
        {
            then();
        }
        else
        {
            _whenLoaded.Add((then, failed));
        }
    }

    public void Add(ShardConsumer consumer)
    {
        _consumers.Add(consumer.Number, consumer);
        WhenLoaded(() =>
        {
            if (_consumers.ContainsKey(consumer.Number))
            {
                _dispatcher.AddConsumer(consumer.Number, consumer.Rank, consumer.Name);
                _dispatcher.AddCredit(consumer.Number, consumer.EarlyRecords, consumer.EarlyBytes);
                consumer.Outlet.Opened();
            }
        });
    }

    public void Remove(ShardConsumer consumer)
    {
        _consumers.Remove(consumer.Number);
        _dispatcher.RemoveConsumer(consumer.Number);
    }

    public void AddCredit(ShardConsumer consumer, int records, long bytes)
    {
        if (IsLoaded)
        {
            _dispatcher.AddCredit(consumer.Number, records, bytes);
            return;
        }

        consumer.EarlyRecords = Math.Min(consumer.EarlyRecords + records, Limits.GroupCreditRecords);
        consumer.EarlyBytes = Math.Min(consumer.EarlyBytes + bytes, Limits.GroupCreditBytes);
    }

    public void Recall(ShardConsumer consumer)
    {
        var (records, bytes) = IsLoaded
            ? _dispatcher.TakeCredit(consumer.Number)
            : (consumer.EarlyRecords, consumer.EarlyBytes);
        (consumer.EarlyRecords, consumer.EarlyBytes) = (0, 0);
        consumer.Outlet.Returned(records, bytes);
    }

    public void GiveBack(in DeliveryToken token) => _dispatcher.TakeBack(token, token.Range, Now);

    /// <summary>Says how many records were not the consumer's any more, or why nothing is known to be done.</summary>
    public void Settle(in TokenOrder order, Action<int, BrokerException?> done) => _dispatcher.Settle(
        new SettleRequest(Await(done), order.Kind, order.Token, order.DelayMs, order.Reason), Now);

    /// <summary>Answers when it is committed.</summary>
    public void TakeDead(DeadOrder order, Action<DeadTaken, BrokerException?> done)
    {
        if (!_numbers.TryGetValue(_dead.Place, out var topic))
        {
            done(default, null);
            return;
        }

        var end = order.Before ?? _dispatcher.Describe(topic, Now).Next;
        var (count, open, left) = (0, 1, 0L);
        void Finish(int lost, BrokerException? refusal)
        {
            if (--open == 0)
            {
                done(new DeadTaken(count, left, end), refusal);
            }
        }

        long?[] which = order.Offsets.Count == 0
            ? [null]
            : [.. order.Offsets.Where(each => each < end).Select(static each => (long?)each)];
        foreach (var offset in which)
        {
            if (count < order.Most)
            {
                open++;
                count += _dispatcher.TakeDead(
                    Await(Finish), topic, offset, order.IsPurge, Now, end, order.Most - count);
            }
        }

        left = which.Sum(offset => _dispatcher.CountDead(topic, offset, end));
        Finish(0, null);
    }

    /// <summary>Does what can be done now.</summary>
    public void Work()
    {
        if (!IsLoaded)
        {
            return;
        }

        var now = Now;
        _dispatcher.PassTime(now);
        var isMoreUnread = LookUpKeys();
        var runs = 0;
        while (runs < RunsAtOnce && _dispatcher.TryGive(now, out var given))
        {
            runs++;
            Send(given, now);
        }

        while (_dispatcher.TryTakeCommand(now, Group.Number, out var command))
        {
            Commit(command);
        }

        var buried = 0;
        while (buried++ < DyingAtOnce && _dispatcher.TryTakeDying(now, out var dying))
        {
            Bury(dying);
        }

        Answer();
        Count();
        if (runs == RunsAtOnce || buried > DyingAtOnce || isMoreUnread)
        {
            host.Touch(this);
        }

        _dispatcher.TakeHungry(now, _named);
        _named.ForEach(number => _consumers[number].Outlet.WantsCredit());
        _named.Clear();
        if (runs < RunsAtOnce && !isMoreUnread && _keysNotBeforeUnixMs == long.MaxValue)
        {
            _dispatcher.TakeQuiet(now, _named);
            _named.ForEach(number => _consumers[number].Outlet.Quiet());
            _named.Clear();
        }

        host.SetAlarm(this, Math.Min(_dispatcher.NextAlarmUnixMs(now), _keysNotBeforeUnixMs));
    }

    /// <summary>Another node leads, or the group is gone.</summary>
    public void End(BrokerException why)
    {
        Count();
        foreach (var consumer in _consumers.Values)
        {
            consumer.Outlet.Ended(why);
        }

        foreach (var done in _settles.Values)
        {
            done(0, why);
        }

        _settles.Clear();
        _consumers.Clear();
        _whenLoaded.ForEach(each => each.Failed?.Invoke(why));
        _whenLoaded.Clear();
    }

    /// <summary>The topics that it follows, but for its dead letters, and how many of these there are.</summary>
    public (IReadOnlyList<PlaceReport> Places, long DeadLetters) Report(Func<string, int, bool> isWanted)
    {
        var places = new Dictionary<string, PlaceReport>(StringComparer.Ordinal);
        var dead = 0L;
        foreach (var (number, place) in _places)
        {
            var lane = _dispatcher.Describe(number, Now);
            if (place == _dead.Place)
            {
                dead += lane.Fresh;
                continue;
            }

            var (topic, partition) = PartitionName.Parse(DueTopic.TargetOf(place));
            if (isWanted(topic, partition))
            {
                var report = new PlaceReport(
                    topic,
                    partition,
                    lane.Floor,
                    lane.Next,
                    lane.Fresh + lane.Known,
                    TimeOf(place, lane.Floor, lane.Next),
                    lane.Out,
                    lane.Waiting,
                    lane.Redeliveries,
                    lane.Expired);
                var target = DueTopic.TargetOf(place);
                places[target] = !places.TryGetValue(target, out var other) ? report
                    : DueTopic.IsOne(place) ? other.With(report)
                    : report.With(other);
            }
        }

        return ([.. places.Values], dead);
    }

    /// <summary>The numbers of topics that it follows, and their names here.</summary>
    public IEnumerable<(int Number, string Place)> Places =>
        _places.Where(each => each.Value != _dead.Place).Select(static each => (each.Key, each.Value));

    private long TimeOf(string place, long offset, long next)
    {
        var batches = new List<BatchLocation>();
        return offset < next && shard.Topics.TryGetTopic(place, out var view)
            && view.TryLocate(offset, offset + 1, 1, batches, out _)
            ? batches[0].TimestampUnixMs
            : 0;
    }

    private long Await(Action<int, BrokerException?> done)
    {
        _settles.Add(++_nextSettle, done);
        return _nextSettle;
    }

    private void Answer()
    {
        foreach (var answer in _dispatcher.TakeAnswers())
        {
            if (_settles.Remove(answer.Id, out var done))
            {
                done(answer.Lost, null);
            }
        }
    }
}
