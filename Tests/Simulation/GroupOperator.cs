using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Tests.Simulation;

/// <summary>
/// An operator who makes the cluster's consumer group, changes and pauses it, has it go elsewhere in some topic,
/// deletes it and makes it again. Nobody else does, so the right answers are known; each node knows of it what its
/// replica of the first group has applied.
/// </summary>
internal sealed class GroupOperator(World world)
    : StepClient(world, Name, Figure.GroupSteps, slowness: 1, waitsMs: 40)
{
    public const string DeadLetters = "$dlq." + Name;

    public const int MaxDeliveries = 4;

    private const string Name = "group";

    private static readonly GroupId Home = new(1);

    private static readonly ConsumerGroupSettings Settings = new()
    {
        Filters = [">"],
        AckWaitMs = 300,
        MaxDeliveries = MaxDeliveries,
        BackOffMs = [0, 40, 200],
        MaxOutstanding = 30,
    };

    private ConsumerGroupSettings? _settings;
    private GroupStart _start;
    private long _number;
    private bool _mayBeGone;
    private bool _isOver;

    /// <summary>Whether the group is there and delivers.</summary>
    public bool IsSettled => Current is null && _settings is { IsPaused: false };

    /// <summary>Whether a group was deleted, or may have been.</summary>
    public bool MayBeGone(int number) => number < _number || (number == _number && _mayBeGone);

    /// <summary>Nobody wants anything of the group any more.</summary>
    public void End() => _isOver = true;

    public override string ToString() => $"the group is {_settings}, number {_number}";

    protected override ClientStep? Choose()
    {
        if (_isOver || World.IsCalm)
        {
            return _isOver || IsSettled ? null : _settings is null ? Create() : Update(isPaused: false);
        }

        return Random.Next(20) switch
        {
            0 => Delete(),
            1 => Create(),
            < 6 => Update(isPaused: _settings is { IsPaused: false } && Random.Next(3) == 0),
            _ when _settings is null => Create(),
            _ => Seek(),
        };
    }

    private ClientStep Create()
    {
        var kind = (GroupStartKind)Random.Next(1, 4);
        var timeUnixMs = NodeClock.Epoch.ToUnixTimeMilliseconds() + (World.Scheduler.NowUs / 1_000);
        var start = new GroupStart(kind, kind == GroupStartKind.Time ? timeUnixMs - Random.Next(3_000) : 0);
        var settings = Draw(isPaused: false) with { Mode = (ConsumerGroupMode)Random.Next(1, 4) };
        settings = settings with { Order = DrawOrder(settings.Mode) };
        return new ClientStep(World.GroupOf(Home), $"making it with {settings}", Encode(into =>
            ConsumerGroupCommands.WriteCreate(into, Name, settings, start)))
        {
            Take = (answer, isUncertain) =>
            {
                if (_settings is { } known)
                {
                    return known == settings && _start == start
                        ? answer is { Code: RefusalCode.None, Duplicate: true } && answer.BaseOffset == _number
                        : answer.Code == RefusalCode.AlreadyExists;
                }

                var isNew = answer.BaseOffset > _number;
                (_settings, _start, _number) = (settings, start, answer.BaseOffset);
                _mayBeGone = false;
                return answer.Code == RefusalCode.None && isNew && (!answer.Duplicate || isUncertain);
            },
        };
    }

    private ClientStep Update(bool isPaused)
    {
        var mode = _settings?.Mode ?? ConsumerGroupMode.Shared;
        var settings = Draw(isPaused) with { Mode = mode, Order = DrawOrder(mode) };
        return new ClientStep(World.GroupOf(Home), $"changing it to {settings}", Encode(into =>
            ConsumerGroupCommands.WriteUpdate(into, Name, ConsumerGroupParts.All, settings)))
        {
            Take = (answer, _) =>
            {
                var isThere = _settings is not null;
                _settings = isThere ? settings : null;
                return isThere
                    ? answer.Code == RefusalCode.None && answer.BaseOffset == _number
                    : answer.Code == RefusalCode.NotFound;
            },
        };
    }

    private ClientStep Delete()
    {
        _mayBeGone = true;
        return new ClientStep(World.GroupOf(Home), "deleting it", Encode(
            static into => ConsumerGroupCommands.WriteDelete(into, Name)))
        {
            Take = (answer, isUncertain) =>
            {
                var isDone = _settings is not null && answer.Code == RefusalCode.None;
                var wasDone = (_settings is null || isUncertain) && answer.Code == RefusalCode.NotFound;
                _settings = null;
                return isDone || wasDone;
            },
        };
    }

    /// <summary>
    /// In a topic that some replica of some shard knows. Sent twice it begins two turns at the same offset.
    /// </summary>
    private ClientStep? Seek()
    {
        var shard = World.Groups[Random.Next(World.Groups.Count)];
        var node = (ReplicaNode)shard.Nodes[Random.Next(shard.Nodes.Count)];
        if (node.Groups is not { Topics.Numbered: { Count: > 0 } topics })
        {
            return null;
        }

        var topic = topics[Random.Next(topics.Count)];
        var offset = Random.NextInt64(topic.Parts.Memory.NextOffset + 1);
        byte[] To(long to) => Encode(into => GroupCommands.WriteSeek(into, (int)_number, topic.Number, to));
        if (Random.Next(4) == 0 && shard.Nodes.FirstOrDefault(static each => each.IsLeader) is ReplicaNode leader)
        {
            // One just before it, in the same entry mostly.
            leader.Propose(To(Random.NextInt64(offset + 1)), null, static (_, _) => { });
        }

        return new ClientStep(shard, $"seeking {offset} of {topic.Name} in {shard.Id}", To(offset))
        {
            // The shard may not have opened the group yet, and the topic may be gone.
            Take = (answer, _) =>
            {
                World.Figures.Count(Figure.GroupSeeks, answer.Code == RefusalCode.None ? 1 : 0);
                return answer.Code == RefusalCode.NotFound
                    || (answer.Code == RefusalCode.None && answer.BaseOffset == offset);
            },
        };
    }

    private ConsumerGroupOrder DrawOrder(ConsumerGroupMode mode) =>
        mode == ConsumerGroupMode.Exclusive ? ConsumerGroupOrder.Offset : (ConsumerGroupOrder)Random.Next(3);

    /// <summary>How often a record is delivered, and how long it waits, is the same always.</summary>
    private ConsumerGroupSettings Draw(bool isPaused) => Settings with
    {
        Filters = Random.Next(4) > 0 ? [">"] : ["publisher.*", "owned", "crowd"],
        MaxOutstanding = Random.Next(5, 40),
        KeepsDeadLetters = Random.Next(4) > 0,
        IsPaused = isPaused,
    };
}
