using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client with a topic of several partitions, which lie in all groups: it makes, changes and deletes it, and
/// publishes to its partitions by what any machine knows of it, which may be old.
/// </summary>
internal sealed class PartitionOwner(World world)
    : StepClient(world, Topic, Figure.PartitionSteps)
{
    public const string Topic = "parted";

    private static readonly GroupId Home = new(1);

    /// <summary>The next offset of each partition, of the topic of now.</summary>
    private readonly Dictionary<int, long> _next = [];

    /// <summary>Partitions of deleted topics.</summary>
    private readonly List<(int Partition, int Number)> _gone = [];

    private bool _exists;
    private int _count;
    private TopicSettings _settings = TopicSettings.Default;

    /// <summary>Whether every replica has what the topic says, and nothing of one that was deleted.</summary>
    public bool IsSettled => World.Machines.All(machine =>
    {
        var isThere = TopicsOf(machine, Home).TryGetTopic(Topic, out var topic);
        var entries = World.Groups.Sum(group => EntriesOf(TopicsOf(machine, group.Id)).Count());
        return entries == (isThere ? topic.Partitions - 1 : 0)
            && (!isThere || (topic.IsComplete && Enumerable.Range(1, topic.Partitions - 1).All(partition =>
                TryFind(machine, topic, partition, out var found) && found.Settings == topic.Settings)));
    });

    /// <summary>Those that have something to tell.</summary>
    private SimulatedMachine[] Running => [.. World.Machines.Where(static machine => machine.IsUp)];

    private static TopicStateMachine TopicsOf(SimulatedMachine machine, GroupId group) =>
        ((ReplicaNode)machine.Replicas[group.Value - 1]).Topics;

    private static IEnumerable<string> EntriesOf(TopicStateMachine topics) =>
        Enumerable.Range(1, 6).Select(partition => PartitionName.Of(Topic, partition))
            .Where(name => topics.TryGetTopic(name, out _));

    private bool TryFind(SimulatedMachine machine, in TopicView topic, int partition, out TopicView found) =>
        TopicsOf(machine, World.Shards.GroupOf(Home, partition)).TryGetTopic(
            topic.PartitionNameOf(partition), out found)
        && found.Number == topic.PartitionNumber(partition);

    protected override ClientStep? Choose() => Random.Next(24) switch
    {
        0 => Delete(),
        1 or 2 => Create(),
        3 or 4 => Update(),
        5 or 6 => PublishToGone(),
        _ => Publish(),
    };

    private ClientStep Create()
    {
        var (count, settings) = (Random.Next(2, 7), Draw());
        return new ClientStep(HomeGroup, $"making {count} with {settings}", Encode(
            into => PartitionCommands.WriteCreateTopic(into, Topic, count, settings)))
        {
            Take = (answer, isUncertain) =>
            {
                if (_exists)
                {
                    return answer.Code == (_count == count && _settings == settings
                        ? RefusalCode.None
                        : RefusalCode.AlreadyExists);
                }

                (_exists, _count, _settings) = (true, count, settings);
                _next.Clear();
                return answer.Code == RefusalCode.None && (!answer.Duplicate || isUncertain);
            },
        };
    }

    private ClientStep Update()
    {
        var settings = Draw();
        return new ClientStep(HomeGroup, $"changing it to {settings}", Encode(
            into => TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings)))
        {
            Take = (answer, _) =>
            {
                _settings = _exists ? settings : _settings;
                return answer.Code == (_exists ? RefusalCode.None : RefusalCode.NotFound);
            },
        };
    }

    private ClientStep? Delete()
    {
        // Only a machine that knows the topic can wait for the end of all of it.
        var knowing = Running.FirstOrDefault(
            machine => TopicsOf(machine, Home).TryGetTopic(Topic, out var topic) && topic.IsComplete
                && topic.Partitions == _count && !_gone.Contains((0, topic.Number)));
        if (!_exists || knowing is null)
        {
            return null;
        }

        TopicsOf(knowing, Home).TryGetTopic(Topic, out var known);
        var parts = Enumerable.Range(0, _count).Select(partition => (partition, known.PartitionNumber(partition)))
            .ToList();
        return new ClientStep(HomeGroup, "deleting it", Encode(into => TopicCommands.WriteDeleteTopic(into, Topic)))
        {
            Take = (answer, isUncertain) =>
            {
                _exists = false;
                return answer.Code == RefusalCode.None || (isUncertain && answer.Code == RefusalCode.NotFound);
            },

            // As the broker does: a deletion is answered when some node sees that every partition is gone.
            IsDone = () =>
            {
                var running = Running;
                if (running.Length == 0)
                {
                    return false;
                }

                var machine = running[Random.Next(running.Length)];
                var isGone = parts.TrueForAll(part => TopicsOf(machine, World.Shards.GroupOf(Home, part.partition))
                    .HasLost(PartitionName.Of(Topic, part.partition), part.Item2));
                if (isGone)
                {
                    _gone.AddRange(parts);
                }

                return isGone;
            },
        };
    }

    /// <summary>By what some machine knows, which may lag; what is stored goes to the topic of now.</summary>
    private ClientStep? Publish()
    {
        var running = Running;
        if (!_exists || running.Length == 0
            || !TopicsOf(running[Random.Next(running.Length)], Home).TryGetTopic(Topic, out var topic))
        {
            return null;
        }

        var partition = Random.Next(topic.Partitions);
        var number = topic.PartitionNumber(partition);
        return number < 0 || _gone.Contains((partition, number)) ? null : PublishAs(partition, number);
    }

    private ClientStep PublishAs(int partition, int topicNumber)
    {
        var (count, value) = (Random.Next(1, 4), World.NextValue());
        var next = _next.GetValueOrDefault(partition);
        var command = PublishProposal.Encode(
            PartitionName.Of(Topic, partition), PublishStamp.None, count, value, next, topicNumber);
        return new ClientStep(GroupOf(partition), $"publish {value} to {partition} at {next}", command, value)
        {
            Take = (answer, isUncertain) =>
            {
                _next[partition] = next + count;
                return (answer.Code == RefusalCode.None && answer.BaseOffset == next)
                    || (isUncertain && answer.Code == RefusalCode.UnexpectedOffset
                        && answer.Expected == (ulong)(next + count));
            },
        };
    }

    private ClientStep? PublishToGone()
    {
        if (_gone.Count == 0)
        {
            return null;
        }

        var (partition, number) = _gone[Random.Next(_gone.Count)];
        var value = World.NextValue();
        var command = PublishProposal.Encode(
            PartitionName.Of(Topic, partition), PublishStamp.None, 1, value, null, number);
        return new ClientStep(GroupOf(partition), $"publish {value} to {partition}, which was {number}", command, value)
        {
            Take = (answer, _) =>
            {
                GroupOf(partition).History.NoteRefused(value);
                return answer.Code == RefusalCode.PartitionsChanged;
            },
        };
    }

    private SimulatedGroup HomeGroup => World.GroupOf(Home);

    private SimulatedGroup GroupOf(int partition) =>
        World.Groups[World.Shards.GroupOf(Home, partition).Value - 1];

    private TopicSettings Draw() => new() { MaxRecords = Random.Next(3) * Random.Next(1, 20) };
}
