using System.Collections.Concurrent;
using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>
/// The consumer groups of one data shard, while this node leads it: one task in whose turns everything happens, so
/// nothing here is locked. What other threads want is handed in; nothing is polled.
/// </summary>
internal sealed partial class ShardGroups : IGroupShard
{
    /// <summary>So many leases a group can have before its numbers reach those of the next one.</summary>
    private const int LeaseBits = 36;

    /// <summary>A group that nobody asked for is served from then on; not all of them at once.</summary>
    private const int ServedAtOnce = 100;

    private readonly ShardPlace _shard;
    private readonly ShardTurns _turns;
    private readonly ServingQueue _queue;
    private readonly GroupCounting _counting;
    private readonly GroupPublishing _publishing;

    /// <summary>Groups of which the thread that applies is to say what changes.</summary>
    private readonly ConcurrentDictionary<int, GroupServing> _watched = new();

    private readonly Dictionary<int, GroupServing> _servings = [];
    private readonly Dictionary<SessionKey, ShardConsumer> _consumers = [];
    private readonly Dictionary<string, List<GroupServing>> _followers = new(StringComparer.Ordinal);
    private readonly List<string> _places = [];
    private ConsumerGroups _groups = ConsumerGroups.Empty;

    /// <summary>Groups that were served in this term: of these, commands of ours may be under way.</summary>
    private readonly HashSet<int> _served = [];
    private long _servingsMade;
    private int _lastConsumer;
    private int _settling;
    private bool _isMakingDeadLetters;

    /// <param name="shard">What it works with.</param>
    public ShardGroups(ShardPlace shard)
    {
        _shard = shard;
        _turns = new ShardTurns(shard);
        _queue = new ServingQueue(shard);
        _counting = new GroupCounting(shard, _turns, _servings);
        _publishing = new GroupPublishing(shard, _turns, _queue, _servings);
    }

    /// <inheritdoc cref="GroupCounting.Figures"/>
    public IReadOnlyList<ConsumerGroupFigures> Figures => _counting.Figures;

    /// <summary>Until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _turns.Stopping = cancellationToken;
        _shard.Progress.Changed = OnChanged;
        using var alarm = _shard.Time.CreateTimer(
            static news => ((ShardNews)news!).Wake(), _shard.News, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        var watching = WatchLeaderAsync(cancellationToken);
        try
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                await _shard.News.WaitAsync(cancellationToken);
                Turn();
                alarm.Change(TimeSpan.FromMilliseconds(_queue.FindWaitMs()), Timeout.InfiniteTimeSpan);
            }
        }
        finally
        {
            EndAll(Refusal.Stopping());
            await watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Open(
        SessionKey session, long openedUnixMs, int group, string consumer, IGroupOutlet outlet) => _turns.Post(() =>
    {
        if (!TryServe(group, out var serving, out var refusal))
        {
            outlet.Ended(refusal);
            return;
        }

        if (_consumers.Remove(session, out var former))
        {
            former.Serving.Remove(former);
        }

        var known = new ShardConsumer(++_lastConsumer, session, openedUnixMs, consumer, outlet, serving);
        _consumers.Add(session, known);
        serving.Add(known);
        _queue.Touch(serving);
    });

    public void AddCredit(SessionKey session, int records, long bytes) =>
        Of(session, consumer => consumer.Serving.AddCredit(consumer, records, bytes));

    public void Recall(SessionKey session) => Of(session, static consumer => consumer.Serving.Recall(consumer));

    public void GiveBack(int group, DeliveryToken token) => _turns.Post(() =>
    {
        if (_servings.TryGetValue(group, out var serving))
        {
            serving.GiveBack(token);
            _queue.Touch(serving);
        }
    });

    public void Close(SessionKey session, IGroupOutlet outlet) => Of(session, consumer =>
    {
        if (consumer.Outlet == outlet)
        {
            _consumers.Remove(session);
            consumer.Serving.Remove(consumer);
        }
    });

    public Task<SettleOutcome[]> SettleAsync(IReadOnlyList<TokenOrder> orders, CancellationToken cancellationToken)
    {
        if (Interlocked.Add(ref _settling, orders.Count) > Limits.GroupSettlesWaiting)
        {
            Interlocked.Add(ref _settling, -orders.Count);
            throw Refusal.Overloaded("The list of what consumers settle", TimeSpan.FromMilliseconds(100));
        }

        var outcomes = new SettleOutcome[orders.Count];
        var left = orders.Count;
        var done = new TaskCompletionSource<SettleOutcome[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        void Finish(int at, int lost, BrokerException? refusal)
        {
            outcomes[at] = new SettleOutcome(refusal, lost);
            if (--left == 0)
            {
                Interlocked.Add(ref _settling, -orders.Count);
                done.TrySetResult(outcomes);
            }
        }

        _turns.Post(() =>
        {
            for (var i = 0; i < orders.Count; i++)
            {
                var (at, order) = (i, orders[i]);
                if (!TryServe(order.Group, out var serving, out var refusal))
                {
                    Finish(at, 0, refusal);
                    continue;
                }

                serving.WhenLoaded(
                    () => serving.Settle(order, (lost, why) => Finish(at, lost, why)), why => Finish(at, 0, why));
                _queue.Touch(serving);
            }
        });
        return done.Task.WaitAsync(cancellationToken);
    }

    public Task<GroupReport> ReportAsync(int group, CancellationToken cancellationToken) => AskAsync<GroupReport>(
        group,
        (serving, done) =>
        {
            var (places, dead) = serving.Report(static (_, _) => true);
            done.TrySetResult(new GroupReport([.. serving.Consumers.Select(serving.Describe)], places, dead));
        },
        cancellationToken);

    public Task<IReadOnlyList<PeekedPlace>> PeekAsync(
        int group, PeekState state, PlaceOfRecord? after, int most, CancellationToken cancellationToken) =>
        AskAsync<IReadOnlyList<PeekedPlace>>(
            group, (serving, done) => done.TrySetResult(serving.Peek(state, after, most)), cancellationToken);

    public async Task<IReadOnlyList<PlaceReport>> SeekAsync(
        int group, string topic, int? partition, GroupSeek target, CancellationToken cancellationToken)
    {
        bool IsWanted(string name, int number) =>
            (topic.Length == 0 || name == topic) && (partition is null || partition == number);

        var moves = await AskAsync<IReadOnlyList<(int Number, long Offset)>>(
            group, (serving, done) => done.TrySetResult(serving.PlanSeek(IsWanted, target)), cancellationToken);
        foreach (var (number, offset) in moves)
        {
            var proposal = _turns.Propose(into => GroupCommands.WriteSeek(into, group, number, offset));
            var result = await proposal.Done.WaitAsync(cancellationToken);
            if (result.Code == RefusalCode.OutOfRange)
            {
                throw Refusal.OutOfRange(
                    $"Offset {offset} is beyond the end of topic '{topic}'; its next offset is {result.BaseOffset}.");
            }
        }

        return await AskAsync<IReadOnlyList<PlaceReport>>(
            group, (serving, done) => done.TrySetResult(serving.Report(IsWanted).Places), cancellationToken);
    }

    public Task<DeadTaken> TakeDeadLettersAsync(int group, DeadOrder order, CancellationToken cancellationToken) =>
        AskAsync<DeadTaken>(
            group,
            (serving, done) => serving.TakeDead(order, (taken, refusal) =>
            {
                if (refusal is null)
                {
                    done.TrySetResult(taken);
                }
                else
                {
                    done.TrySetException(refusal);
                }
            }),
            cancellationToken);

    /// <summary>
    /// Proposes a command that finishes records and publishes, if all of them are their consumers' still. Whether it
    /// takes effect is decided where it is applied: until then the records come to nobody else.
    /// </summary>
    /// <exception cref="BrokerException">
    /// Nothing is proposed. LeaseLost: some are not the consumer's any more. NotLeader, NoLeader. NotFound: a group was
    /// deleted.
    /// </exception>
    /// <param name="finished">The records.</param>
    /// <param name="command">What is proposed.</param>
    /// <param name="outcome">Ends well when it has taken effect.</param>
    /// <param name="cancellationToken">Ends the wait before it is proposed.</param>
    public async Task PublishAsync(
        IReadOnlyList<TokenOrder> finished, Proposal command, Task outcome, CancellationToken cancellationToken)
    {
        foreach (var group in finished.Select(static order => order.Group).Distinct())
        {
            await AskAsync<bool>(group, static (_, done) => done.TrySetResult(true), cancellationToken);
        }

        await _publishing.PublishAsync(finished, command, outcome);
    }

    /// <summary>Has them counted, unless they were just now; done when they are. Any thread; does not block.</summary>
    public Task CountAsync() => _counting.CountAsync(BeginCounting);

    /// <summary>Once at a time: what comes of it is seen when the topic is there.</summary>
    private void MakeDeadLetters(string group)
    {
        if (!_isMakingDeadLetters)
        {
            _isMakingDeadLetters = true;
            _turns.Run(() => MakeDeadLettersAsync(group));
        }
    }

    private async Task MakeDeadLettersAsync(string group)
    {
        try
        {
            await _shard.MakeTopic(DeadLetters.TopicOf(group), _turns.Stopping);
        }
        catch (Exception failure) when (
            failure is BrokerException or OperationCanceledException or Grpc.Core.RpcException)
        {
            DeliveryEvents.NoDeadLetters(_shard.Logger, group, failure.Message);
        }

        _turns.Post(() => _isMakingDeadLetters = false);
    }
}
