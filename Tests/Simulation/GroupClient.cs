using Broker.Domain;
using Broker.Groups;

namespace Broker.Tests.Simulation;

/// <summary>
/// The cluster's consumer group in one shard. Whoever leads the shard, or believes to, has the real dispatcher over its
/// own state (<see cref="GroupLeader"/>); the consumers come and go, and say anything of what they were given, to any
/// leader, or nothing. When the faults are over they work as they should, and all must come to an end.
/// </summary>
internal sealed class GroupClient(SimulatedGroup group)
{
    private const int MostTokens = 40;
    private const long FaultyRoundUs = 60_000;
    private const long CalmRoundUs = 500_000;
    private const long LastRoundUs = 50_000;

    private readonly Dictionary<NodeId, GroupLeader> _leaders = [];
    private readonly List<(int Group, DeliveryToken Token)> _tokens = [];
    private bool _isOver;

    public World World => group.World;

    public GroupHistory History => group.GroupHistory!;

    /// <summary>Whether the group had finished everything on every replica when the consumers last looked.</summary>
    public bool IsDone { get; private set; }

    /// <summary>Whether no replica remembers anything of topics and groups that are gone.</summary>
    public bool HasForgotten => Replicas.All(static node => node.Groups is { } groups
        && groups.Groups.Values.All(here => node.ConsumerGroups.Find(here.Number) is not null
            && here.Progress.Keys.All(topic => groups.Topics.Find(topic) is not null)));

    private IEnumerable<ReplicaNode> Replicas => group.Nodes.OfType<ReplicaNode>();

    public void Begin() => World.Scheduler.After(
        World.Random.NextInt64(World.ClientsRest ? LastRoundUs : World.IsCalm ? CalmRoundUs : FaultyRoundUs),
        () =>
        {
            if (_isOver)
            {
                return;
            }

            foreach (var node in Replicas.Where(static node =>
                node.IsLeader && node.Machine is { IsUp: true, IsPaused: false }))
            {
                Serve(node);
            }

            IsDone = World.ClientsRest && World.IsCalm && Replicas.All(HasFinished);
            Begin();
        });

    /// <summary>Nobody consumes any more.</summary>
    public void End() => _isOver = true;

    /// <summary>See <see cref="GroupProgressModule.Changed"/>.</summary>
    public void OnChanged(ReplicaNode node, int number, int topic)
    {
        if (_leaders.TryGetValue(node.Id, out var leader))
        {
            leader.OnChanged(number, topic);
        }
    }

    public void Keep(int number, in DeliveryToken token)
    {
        _tokens.Add((number, token));
        if (_tokens.Count > MostTokens)
        {
            // Its consumer is gone, and never says anything.
            _tokens.RemoveAt(0);
        }
    }

    /// <summary>Some of what some consumer was given, by any leader; null: of no consumer of that group.</summary>
    public DeliveryToken? AnyToken(int number)
    {
        if (_tokens.Count == 0)
        {
            return null;
        }

        var (of, token) = _tokens[World.Random.Next(_tokens.Count)];
        var first = token.Range.First + World.Random.NextInt64(token.Range.Count);
        var end = first + 1 + World.Random.NextInt64(token.Range.End - first);
        return of == number ? token with { Range = new OffsetRange(first, end) } : null;
    }

    /// <summary>What the group has not finished on a replica, for messages.</summary>
    public override string ToString() => string.Join("; ", Replicas.Where(node => !HasFinished(node)).Select(node =>
        $"node {node.Id} of {group.Id} knows {string.Join(',', node.Groups?.Groups.Keys ?? [])}, and has not finished "
        + string.Join(',', TopicsOf(node).Where(topic => !HasFinished(node, topic)).Select(topic => topic.Name))));

    private static IEnumerable<Topics.TopicState> TopicsOf(ReplicaNode node)
    {
        var filters = node.ConsumerGroups.ByNumber.Values.FirstOrDefault() is { } known
            ? new GroupFilters(known.Settings.Filters)
            : null;
        return node.Groups?.Topics.Numbered.Where(topic => filters?.Matches(topic.Name) != false) ?? [];
    }

    /// <summary>What is delayed for longer than a run stays.</summary>
    private static bool HasFinished(ReplicaNode node) => node.Groups is { } groups
        && groups.Topics.Delays.NextDueUnixMs > GroupHistory.NeverMs
        && groups.Groups.Keys.SequenceEqual(node.ConsumerGroups.ByNumber.Keys)
        && TopicsOf(node).All(topic => HasFinished(node, topic));

    private static bool HasFinished(ReplicaNode node, Topics.TopicState topic) =>
        (node.Groups!.Groups.Values.FirstOrDefault()?.Find(topic.Number)?.Settled.Floor ?? 0)
            >= topic.Parts.Memory.NextOffset;

    /// <summary>As the node knows the group, which may be long ago.</summary>
    private void Serve(ReplicaNode node)
    {
        if (node.Groups is not { } state || node.ConsumerGroups.ByNumber.Values.FirstOrDefault() is not { } known
            || !state.Groups.TryGetValue(known.Number, out var here) || !here.IsOpen)
        {
            return;
        }

        if (!_leaders.TryGetValue(node.Id, out var leader) || !leader.IsOf(here))
        {
            leader = new GroupLeader(this, node, here, known.Settings);
            _leaders[node.Id] = leader;
        }

        if (leader.HasBegun)
        {
            leader.Serve(known.Settings);
        }
    }
}
