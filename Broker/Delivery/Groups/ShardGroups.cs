using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>
/// The consumer groups of one data shard, while this node leads it: one task in whose turns everything happens, so
/// nothing here is locked. What other threads want is handed in; nothing is polled.
/// </summary>
/// <param name="shard">What it works with.</param>
internal sealed partial class ShardGroups(ShardPlace shard) : IGroupShard
{
    /// <summary>So many leases a group can have before its numbers reach those of the next one.</summary>
    private const int LeaseBits = 36;

    private readonly ConcurrentQueue<Action> _inputs = new();

    /// <summary>Groups of which the thread that applies is to say what changes.</summary>
    private readonly ConcurrentDictionary<int, GroupServing> _watched = new();

    private readonly Dictionary<int, GroupServing> _servings = [];
    private readonly Dictionary<SessionKey, ShardConsumer> _consumers = [];
    private readonly Dictionary<string, List<GroupServing>> _followers = new(StringComparer.Ordinal);
    private readonly HashSet<GroupServing> _touched = [];
    private readonly PriorityQueue<GroupServing, long> _alarms = new();
    private readonly List<string> _places = [];
    private ConsumerGroups _groups = ConsumerGroups.Empty;
    private Term _term;

    /// <summary>Groups that were served in this term: of these, commands of ours may be under way.</summary>
    private readonly HashSet<int> _served = [];
    private long _servingsMade;
    private int _lastConsumer;
    private int _settling;
    private bool _isMakingDeadLetters;
    private CancellationToken _stopping;

    private long Now => shard.Time.GetUtcNow().ToUnixTimeMilliseconds();

    private bool Leads => shard.Replica.Status is { Role: RaftRole.Leader } status && status.Term == _term;

    /// <summary>Until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _stopping = cancellationToken;
        shard.Progress.Changed = OnChanged;
        using var alarm = shard.Time.CreateTimer(
            static news => ((ShardNews)news!).Wake(), shard.News, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        var watching = WatchLeaderAsync(cancellationToken);
        try
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                await shard.News.WaitAsync(cancellationToken);
                Turn();
                var wait = _alarms.TryPeek(out _, out var next) ? Math.Clamp(next - Now, 1, int.MaxValue) : -1;
                alarm.Change(TimeSpan.FromMilliseconds(wait), Timeout.InfiniteTimeSpan);
            }
        }
        finally
        {
            EndAll(Refusal.Stopping());
            await watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Open(
        SessionKey session, long openedUnixMs, int group, string consumer, IGroupOutlet outlet) => Post(() =>
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
        Touch(serving);
    });

    public void AddCredit(SessionKey session, int records, long bytes) =>
        Of(session, consumer => consumer.Serving.AddCredit(consumer, records, bytes));

    public void Recall(SessionKey session) => Of(session, static consumer => consumer.Serving.Recall(consumer));

    public void GiveBack(int group, DeliveryToken token) => Post(() =>
    {
        if (_servings.TryGetValue(group, out var serving))
        {
            serving.GiveBack(token);
            Touch(serving);
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

        Post(() =>
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
                Touch(serving);
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
            group, (serving, done) => done.TrySetResult(PlanSeek(serving, IsWanted, target)), cancellationToken);
        foreach (var (number, offset) in moves)
        {
            var proposal = Propose(into => GroupCommands.WriteSeek(into, group, number, offset));
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

    /// <summary>A group has something to do in this turn, or the next one.</summary>
    public void Touch(GroupServing serving)
    {
        if (_touched.Add(serving))
        {
            shard.News.Wake();
        }
    }

    public void SetAlarm(GroupServing serving, long atUnixMs)
    {
        if (atUnixMs < serving.AlarmUnixMs)
        {
            serving.AlarmUnixMs = atUnixMs;
            _alarms.Enqueue(serving, atUnixMs);
        }
    }

    /// <summary>Commits a command; what came of it is heard in a turn, unless another node leads by then.</summary>
    public void Propose(Action<IBufferWriter<byte>> write, Action<CommandResult> done)
    {
        var proposal = Propose(write);
        Run(() => HearAsync(proposal, _term, done));
    }

    /// <summary>Once at a time: what comes of it is seen when the topic is there.</summary>
    public void MakeDeadLetters(string group)
    {
        if (!_isMakingDeadLetters)
        {
            _isMakingDeadLetters = true;
            Run(() => MakeDeadLettersAsync(group));
        }
    }

    private EncodedProposal Propose(Action<IBufferWriter<byte>> write)
    {
        var command = new ArrayBufferWriter<byte>();
        write(command);
        var proposal = new EncodedProposal(command.WrittenMemory);
        shard.Replica.Propose(proposal);
        return proposal;
    }

    private async Task HearAsync(EncodedProposal proposal, Term term, Action<CommandResult> done)
    {
        CommandResult result;
        try
        {
            result = await proposal.Done;
        }
        catch (BrokerException refusal)
        {
            result = new CommandResult { Code = refusal.Code };
        }

        Post(() =>
        {
            if (term == _term && Leads)
            {
                done(result);
            }
        });
    }

    private async Task MakeDeadLettersAsync(string group)
    {
        try
        {
            await shard.MakeTopic(DeadLetters.TopicOf(group), _stopping);
        }
        catch (Exception failure) when (
            failure is BrokerException or OperationCanceledException or Grpc.Core.RpcException)
        {
            DeliveryEvents.NoDeadLetters(shard.Logger, group, failure.Message);
        }

        Post(() => _isMakingDeadLetters = false);
    }

    /// <summary>
    /// Goes on beside the turns. What nobody foresaw ends the turns, which are begun anew, and told of.
    /// </summary>
    private void Run(Func<Task> work)
    {
        async Task Watch()
        {
            try
            {
                await work();
            }
            catch (Exception failure)
            {
                Post(() => ExceptionDispatchInfo.Throw(failure));
            }
        }

        _ = Watch();
    }

    private void Post(Action input)
    {
        _inputs.Enqueue(input);
        shard.News.Wake();
    }
}
