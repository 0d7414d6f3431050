using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Delivery;

/// <summary>
/// One consumer group at the leader of a shard: feeds its dispatcher with topics and time, sends out what it gives, and
/// has committed what it settles. Everything happens in the turn of its <see cref="ShardGroups"/>.
/// </summary>
internal sealed partial class GroupServing
{
    /// <summary>Then the others have their turn.</summary>
    private const int RunsAtOnce = 64;

    private const int DyingAtOnce = 100;

    private readonly ShardPlace _shard;
    private readonly ShardTurns _turns;
    private readonly ServingQueue _queue;
    private readonly Action<string> _makeDeadLetters;
    private readonly GroupDispatcher _dispatcher;
    private readonly SingleRecords _records;
    private readonly GroupLookAhead _lookAhead;
    private readonly GroupSender _sender;
    private readonly ConsumerGroupCounts _counts;
    private readonly Dictionary<int, ShardConsumer> _consumers = [];
    private readonly List<(Action Then, Action<BrokerException>? Failed)> _whenLoaded = [];
    private readonly List<int> _named = [];
    private volatile bool _isCaughtUp;

    /// <param name="shard">Where the group is served.</param>
    /// <param name="turns">Commits its commands; knows the term.</param>
    /// <param name="queue">Hears when it has something to do.</param>
    /// <param name="makeDeadLetters">Begins to make the topic of dead letters of the group of that name.</param>
    /// <param name="group">As it is at first.</param>
    /// <param name="firstLease">Before it there is none of this group in this term.</param>
    public GroupServing(
        ShardPlace shard,
        ShardTurns turns,
        ServingQueue queue,
        Action<string> makeDeadLetters,
        ConsumerGroup group,
        long firstLease)
    {
        (_shard, _turns, _queue, _makeDeadLetters, Group) = (shard, turns, queue, makeDeadLetters, group);
        _counts = shard.Metrics.Of(group.Number, group.Name);
        _dispatcher = new GroupDispatcher(turns.Term, group.Settings, firstLease);
        _records = new SingleRecords(shard);
        Topics = new FollowedTopics(shard, _dispatcher, group);
        _lookAhead = new GroupLookAhead(shard, _dispatcher, Topics, _records);
        _sender = new GroupSender(shard, _dispatcher, Topics, _records, _consumers, _counts, group);
    }

    public ConsumerGroup Group { get; private set; }

    public FollowedTopics Topics { get; }

    /// <summary>Until the shard says where the group begins nothing is delivered, nor when this has ended.</summary>
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

    /// <summary>When it is to work though nothing happens; of the <see cref="ServingQueue"/>.</summary>
    public long AlarmUnixMs { get; set; } = long.MaxValue;

    public IEnumerable<ShardConsumer> Consumers => _consumers.Values;

    private long Now => _shard.NowUnixMs;

    /// <inheritdoc cref="FollowedTopics.BeginLoading"/>
    public void BeginLoading() => Topics.BeginLoading();

    /// <summary>What the shard remembers of the group, as of an entry behind the leader's first.</summary>
    public void Load(IReadOnlyDictionary<int, GroupProgress> progress)
    {
        Topics.Load(progress);
        Begin();
    }

    /// <inheritdoc cref="FollowedTopics.EndLoading"/>
    public void EndLoading()
    {
        Topics.EndLoading();
        Begin();
    }

    /// <inheritdoc cref="FollowedTopics.Move"/>
    public void Move(int topic, GroupProgress? progress)
    {
        if (IsLoaded)
        {
            Topics.Move(topic, progress);
        }
    }

    /// <summary>The group's settings may have changed; true: it may follow other topics now.</summary>
    public bool Update(ConsumerGroup group)
    {
        var isOther = !Group.Settings.Filters.SequenceEqual(group.Settings.Filters);
        Group = group;
        _dispatcher.Settings = group.Settings;
        if (isOther)
        {
            Topics.FollowBy(group.Settings.Filters);
        }

        return isOther;
    }

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

    /// <summary>Does what can be done now.</summary>
    public void Work()
    {
        if (!IsLoaded)
        {
            return;
        }

        var now = Now;
        _dispatcher.PassTime(now);
        var isMoreUnread = _lookAhead.LookUpKeys();
        var runs = 0;
        while (runs < RunsAtOnce && _dispatcher.TryGive(now, out var given))
        {
            runs++;
            _sender.Send(given, now);
        }

        while (_dispatcher.Settling.TryTakeCommand(now, Group.Number, out var command))
        {
            Commit(command);
        }

        var buried = 0;
        while (buried++ < DyingAtOnce && _dispatcher.Dying.TryTake(now, out var dying))
        {
            Bury(dying);
        }

        Answer();
        Count();
        if (runs == RunsAtOnce || buried > DyingAtOnce || isMoreUnread)
        {
            _queue.Touch(this);
        }

        _dispatcher.TakeHungry(now, _named);
        _named.ForEach(number => _consumers[number].Outlet.WantsCredit());
        _named.Clear();
        if (runs < RunsAtOnce && !isMoreUnread && _lookAhead.NotBeforeUnixMs == long.MaxValue)
        {
            _dispatcher.TakeQuiet(now, _named);
            _named.ForEach(number => _consumers[number].Outlet.Quiet());
            _named.Clear();
        }

        _queue.SetAlarm(this, Math.Min(_dispatcher.NextAlarmUnixMs(now), _lookAhead.NotBeforeUnixMs));
    }

    /// <summary>Another node leads, or the group is gone.</summary>
    public void End(BrokerException why)
    {
        // Alarms that were set, and answers to what is under way, come all the same.
        IsLoaded = false;
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

    private void Begin()
    {
        if (!Topics.CanBegin)
        {
            return;
        }

        Topics.LookAtAll();
        if (!IsLoaded)
        {
            IsLoaded = true;
            _whenLoaded.ForEach(static each => each.Then());
            _whenLoaded.Clear();
        }
    }

    private void Count()
    {
        var tally = _dispatcher.TakeTally();
        if (tally != default)
        {
            _counts.AddSettled(tally.Acked, tally.Nacked, tally.Lapsed, tally.GivenUp, tally.Expired);
        }
    }
}
