using System.Collections.Concurrent;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>
/// Brings what consumers and operators want of groups to the leaders of the shards. What is settled is tried again
/// while leadership moves: that does no harm, for a record is settled once.
/// </summary>
/// <param name="node">Who leads.</param>
/// <param name="local">The shards that this node can lead.</param>
/// <param name="links">Those that others lead.</param>
/// <param name="time">The clock.</param>
internal sealed class ConsumerGroupRouter(
    BrokerNode node, IReadOnlyDictionary<GroupId, ShardGroups> local, GroupLinks links, TimeProvider time)
    : IConsumerGroups
{
    /// <summary>An election in which the old leader and the new one are asked.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(9);

    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(50);

    private readonly ConcurrentDictionary<GroupSession, byte> _sessions = new();
    private long _lastSession;

    public TimeProvider Time => time;

    public IReadOnlyCollection<GroupId> Shards { get; } = [.. local.Keys];

    public IGroupSession Open(ConsumerGroup group, string consumer)
    {
        if (_sessions.Count >= Limits.GroupConsumersPerNode)
        {
            throw Refusal.Overloaded("The list of consumers of this node", TimeSpan.FromSeconds(1));
        }

        var key = new SessionKey(node.Options.NodeId, Interlocked.Increment(ref _lastSession));
        var session = new GroupSession(this, group, consumer, key);
        _sessions.TryAdd(session, 0);
        return session;
    }

    public async Task<IReadOnlyList<SettleOutcome>> SettleAsync(
        IReadOnlyList<SettleOrder> orders, CancellationToken cancellationToken)
    {
        var outcomes = new SettleOutcome[orders.Count];
        var byShard = new Dictionary<GroupId, List<(int At, TokenOrder Order)>>();
        for (var i = 0; i < orders.Count; i++)
        {
            if (TryRead(orders[i], out var shard, out var order) && local.ContainsKey(shard))
            {
                (byShard.TryGetValue(shard, out var list) ? list : byShard[shard] = []).Add((i, order));
            }
            else
            {
                outcomes[i] = new SettleOutcome(WrongToken(), 0);
            }
        }

        await Task.WhenAll(byShard.Select(each => SettleAsync(each.Key, each.Value, outcomes, cancellationToken)));
        return outcomes;
    }

    public (GroupId Shard, TokenOrder Order) Read(in SettleOrder order) =>
        TryRead(order, out var shard, out var read) && local.ContainsKey(shard) ? (shard, read) : throw WrongToken();

    public Task PublishAsync(
        GroupId shard,
        IReadOnlyList<TokenOrder> finished,
        Proposal command,
        Task outcome,
        CancellationToken cancellationToken) =>
        local[shard].PublishAsync(finished, command, outcome, cancellationToken);

    public async Task<GroupReport> ReportAsync(ConsumerGroup group, CancellationToken cancellationToken)
    {
        var reports = await Task.WhenAll(local.Keys.Select(shard => RepeatAsync(
            shard, target => target.ReportAsync(group.Number, cancellationToken), cancellationToken)));
        var consumers = reports.SelectMany(static report => report.Consumers)
            .GroupBy(static consumer => (consumer.Node, consumer.Session))
            .Select(static same => same.First() with
            {
                Out = same.Sum(static each => each.Out),
                Credit = same.Sum(static each => each.Credit),
                IsServed = same.Any(static each => each.IsServed),
            })
            .OrderBy(static consumer => consumer.Name, StringComparer.Ordinal)
            .ThenBy(static consumer => (consumer.Node, consumer.Session));
        return new GroupReport(
            [.. consumers],
            Ordered(reports.SelectMany(static report => report.Places)),
            reports.Sum(static report => report.DeadLetters));
    }

    public async Task<IReadOnlyList<PeekedPlace>> PeekAsync(
        ConsumerGroup group, PeekState state, PlaceOfRecord? after, int most, CancellationToken cancellationToken)
    {
        var found = await Task.WhenAll(local.Keys.Select(shard => RepeatAsync(
            shard,
            target => target.PeekAsync(group.Number, state, after, most, cancellationToken),
            cancellationToken)));
        return [.. found.SelectMany(static each => each).OrderBy(static each => each.Place).Take(most)];
    }

    public async Task<IReadOnlyList<PlaceReport>> SeekAsync(
        ConsumerGroup group, string topic, int? partition, GroupSeek target, CancellationToken cancellationToken)
    {
        var places = await Task.WhenAll(local.Keys.Select(shard => RepeatAsync(
            shard,
            at => at.SeekAsync(group.Number, topic, partition, target, cancellationToken),
            cancellationToken)));
        var all = Ordered(places.SelectMany(static each => each));
        return all.Count > 0 || topic.Length == 0
            ? all
            : throw Refusal.NotFound(
                $"Group '{group.Name}' follows no topic '{topic}'"
                + (partition is { } number ? $" with a partition {number}" : "")
                + ". Name one that DescribeGroup lists.");
    }

    public Task<DeadTaken> TakeDeadLettersAsync(
        ConsumerGroup group, GroupId shard, DeadOrder order, CancellationToken cancellationToken) => RepeatAsync(
        shard,
        target => target.TakeDeadLettersAsync(group.Number, order, cancellationToken),
        cancellationToken);

    public void Closed(GroupSession session) => _sessions.TryRemove(session, out _);

    /// <summary>Who leads a shard, and the way there.</summary>
    /// <exception cref="BrokerException">NoLeader: nobody, or it is not known where.</exception>
    public async Task<(NodeId Leader, IGroupShard Shard)> FindAsync(GroupId shard, CancellationToken cancellationToken)
    {
        var leader = await node.WaitForLeaderAsync(shard, cancellationToken);
        return (leader, Way(shard, leader) ?? throw Refusal.NoLeader(shard));
    }

    /// <summary>Until another node leads a shard.</summary>
    public async Task UntilMovedAsync(GroupId shard, NodeId leader, CancellationToken cancellationToken)
    {
        var group = node.Group(shard);
        while (group.Status is var seen && (seen.Leader == leader || seen.Leader.IsNone))
        {
            await group.WaitForChangeAsync(seen, cancellationToken);
        }
    }

    /// <summary>A delivery did not reach its client. Without a leader its lease goes with the old one anyway.</summary>
    public void TryGiveBack(GroupId shard, int group, in DeliveryToken token) =>
        Way(shard, node.Group(shard).Status.Leader)?.GiveBack(group, token);

    private static IReadOnlyList<PlaceReport> Ordered(IEnumerable<PlaceReport> places) =>
    [
        .. places.OrderBy(static place => place.Topic, StringComparer.Ordinal)
            .ThenBy(static place => place.Partition),
    ];

    private static BrokerException WrongToken() => Refusal.InvalidArgument(
        "The token is none that a broker of this cluster has given out, or names records that its delivery did not "
        + "have; send it as the delivery had it.");

    private static bool TryRead(in SettleOrder order, out GroupId shard, out TokenOrder read)
    {
        read = default;
        if (!DeliveryTokens.TryDecode(order.Token.Span, out shard, out var group, out var token))
        {
            return false;
        }

        var first = token.Range.First + order.First;
        var end = order.Count == 0 ? token.Range.End : first + order.Count;
        if (order.First < 0 || order.Count < 0 || first >= end || end > token.Range.End)
        {
            return false;
        }

        read = new TokenOrder(
            group, order.Kind, token with { Range = new OffsetRange(first, end) }, order.DelayMs, order.Reason);
        return true;
    }

    private IGroupShard? Way(GroupId shard, NodeId leader) => leader == node.Options.NodeId ? local[shard]
        : node.Directory.Find(leader) is { } peer ? links.To(peer, shard)
        : null;

    private async Task SettleAsync(
        GroupId shard,
        List<(int At, TokenOrder Order)> orders,
        SettleOutcome[] outcomes,
        CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var again = new List<(int At, TokenOrder Order)>();
            try
            {
                var (_, target) = await FindAsync(shard, cancellationToken);
                var answers = await target.SettleAsync(
                    [.. orders.Select(static each => each.Order)], cancellationToken);
                for (var i = 0; i < answers.Length; i++)
                {
                    outcomes[orders[i].At] = answers[i];
                    if (IsForAnother(answers[i].Refusal))
                    {
                        again.Add(orders[i]);
                    }
                }
            }
            catch (BrokerException refusal)
            {
                orders.ForEach(order => outcomes[order.At] = new SettleOutcome(refusal, 0));
                again = IsForAnother(refusal) ? orders : again;
            }

            if (again.Count == 0 || time.GetElapsedTime(began) >= Patience)
            {
                return;
            }

            orders = again;
            await Task.Delay(RetryInterval, time, cancellationToken);
        }
    }

    private async Task<T> RepeatAsync<T>(
        GroupId shard, Func<IGroupShard, Task<T>> ask, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            try
            {
                var (_, target) = await FindAsync(shard, cancellationToken);
                return await ask(target);
            }
            catch (BrokerException refusal) when (
                IsForAnother(refusal) && time.GetElapsedTime(began) < Patience)
            {
                await Task.Delay(RetryInterval, time, cancellationToken);
            }
        }
    }

    private static bool IsForAnother(BrokerException? refusal) =>
        refusal?.Code is RefusalCode.NotLeader or RefusalCode.NoLeader or RefusalCode.OutcomeUnknown
            or RefusalCode.Stopping;
}
