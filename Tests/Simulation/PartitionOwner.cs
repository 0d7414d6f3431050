using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client with a topic of several partitions, which lie in all groups: it makes, changes and deletes it, and
/// publishes to its partitions by what any machine knows of it, which may be old. It does one thing after the other, so
/// it can tell a right answer from a wrong one. Nobody else touches the topic.
/// </summary>
internal sealed class PartitionOwner(World world)
{
    public const string Topic = "parted";

    private const long AnswerWithinUs = 1_000_000;

    private static readonly GroupId Home = new(1);

    /// <summary>The next offset of each partition, of the topic of now.</summary>
    private readonly Dictionary<int, long> _next = [];

    /// <summary>Partitions of deleted topics.</summary>
    private readonly List<(int Partition, int Number)> _gone = [];

    private bool _exists;
    private int _count;
    private TopicSettings _settings = TopicSettings.Default;
    private Step? _step;

    private Random Random => world.Random;

    /// <summary>Whether every replica has what the topic says, and nothing of one that was deleted.</summary>
    public bool IsSettled => world.Machines.All(machine =>
    {
        var isThere = TopicsOf(machine, Home).TryGetTopic(Topic, out var topic);
        var entries = world.Groups.Sum(group => EntriesOf(TopicsOf(machine, group.Id)).Count());
        return entries == (isThere ? topic.Partitions - 1 : 0)
            && (!isThere || (topic.IsComplete && Enumerable.Range(1, topic.Partitions - 1).All(partition =>
                TryFind(machine, topic, partition, out var found) && found.Settings == topic.Settings)));
    });

    public void Begin() => Soon(Next);

    /// <summary>Those that have something to tell.</summary>
    private SimulatedMachine[] Running => [.. world.Machines.Where(static machine => machine.IsUp)];

    private static TopicStateMachine TopicsOf(SimulatedMachine machine, GroupId group) =>
        ((ReplicaNode)machine.Replicas[group.Value - 1]).Topics;

    private static IEnumerable<string> EntriesOf(TopicStateMachine topics) =>
        Enumerable.Range(1, 6).Select(partition => PartitionName.Of(Topic, partition))
            .Where(name => topics.TryGetTopic(name, out _));

    private bool TryFind(SimulatedMachine machine, in TopicView topic, int partition, out TopicView found) =>
        TopicsOf(machine, world.Shards.GroupOf(Home, partition)).TryGetTopic(
            topic.PartitionNameOf(partition), out found)
        && found.Number == topic.PartitionNumber(partition);

    private void Soon(Action what) => world.Scheduler.After(Random.NextInt64(world.ProposeIntervalMaxUs), () =>
    {
        if (world.ClientsAreDone)
        {
            return;
        }

        if (world.ClientsRest)
        {
            Soon(what);
            return;
        }

        what();
    });

    private void Next()
    {
        var step = Random.Next(24) switch
        {
            0 => Delete(),
            1 or 2 => Create(),
            3 or 4 => Update(),
            5 or 6 => PublishToGone(),
            _ => Publish(),
        };
        if (step is null)
        {
            Soon(Next);
            return;
        }

        _step = step;
        Send(step);
    }

    private void Send(Step step)
    {
        if (step != _step || step.IsAnswered)
        {
            return;
        }

        var leaders = world.Groups[step.Group.Value - 1].Nodes.OfType<ReplicaNode>()
            .Where(node => node.IsLeader).ToArray();
        if (leaders.Length == 0)
        {
            Soon(() => Send(step));
            return;
        }

        var attempt = ++step.Attempts;
        leaders[Random.Next(leaders.Length)].Propose(step.Command, step.Number, (result, refusal) =>
        {
            step.IsUncertain |= refusal is { Code: RefusalCode.OutcomeUnknown };
            if (step != _step || step.IsAnswered)
            {
                return;
            }

            if (result is { } answer)
            {
                step.IsAnswered = true;
                World.Check(
                    step.Take(answer, step.IsUncertain),
                    $"{Topic}: {step} is answered {answer} at try {step.Attempts}");
                world.Figures.Count(Figure.PartitionSteps);
                AfterAnswer(step);
            }
            else if (attempt == step.Attempts)
            {
                Soon(() => Send(step));
            }
        });
        world.Scheduler.After(AnswerWithinUs, () =>
        {
            if (step == _step && attempt == step.Attempts && !step.IsAnswered)
            {
                step.IsUncertain = true;
                Send(step);
            }
        });
    }

    /// <summary>As the broker does: a deletion is answered when some node sees that every partition is gone.</summary>
    private void AfterAnswer(Step step)
    {
        var running = Running;
        if (step.IsDone is { } isDone && (running.Length == 0 || !isDone(running[Random.Next(running.Length)])))
        {
            Soon(() => AfterAnswer(step));
            return;
        }

        _step = null;
        Soon(Next);
    }

    private Step Create()
    {
        var (count, settings) = (Random.Next(2, 7), Draw());
        return new Step($"making {count} with {settings}", Home, Command(
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

    private Step Update()
    {
        var settings = Draw();
        return new Step($"changing it to {settings}", Home, Command(
            into => TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings)))
        {
            Take = (answer, _) =>
            {
                _settings = _exists ? settings : _settings;
                return answer.Code == (_exists ? RefusalCode.None : RefusalCode.NotFound);
            },
        };
    }

    private Step? Delete()
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
        return new Step("deleting it", Home, Command(into => TopicCommands.WriteDeleteTopic(into, Topic)))
        {
            Take = (answer, isUncertain) =>
            {
                _exists = false;
                return answer.Code == RefusalCode.None || (isUncertain && answer.Code == RefusalCode.NotFound);
            },
            IsDone = machine =>
            {
                var isGone = parts.TrueForAll(part => TopicsOf(machine, world.Shards.GroupOf(Home, part.partition))
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
    private Step? Publish()
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

    private Step PublishAs(int partition, int topicNumber)
    {
        var (count, value) = (Random.Next(1, 4), world.NextValue());
        var next = _next.GetValueOrDefault(partition);
        var command = PublishProposal.Encode(
            PartitionName.Of(Topic, partition), PublishStamp.None, count, value, next, topicNumber);
        return new Step($"publish {value} to {partition} at {next}", GroupOf(partition), command, value)
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

    private Step? PublishToGone()
    {
        if (_gone.Count == 0)
        {
            return null;
        }

        var (partition, number) = _gone[Random.Next(_gone.Count)];
        var value = world.NextValue();
        var command = PublishProposal.Encode(
            PartitionName.Of(Topic, partition), PublishStamp.None, 1, value, null, number);
        return new Step($"publish {value} to {partition}, which was {number}", GroupOf(partition), command, value)
        {
            Take = (answer, _) =>
            {
                world.Groups[GroupOf(partition).Value - 1].History.NoteRefused(value);
                return answer.Code == RefusalCode.PartitionsChanged;
            },
        };
    }

    private GroupId GroupOf(int partition) => world.Shards.GroupOf(Home, partition);

    private TopicSettings Draw() => new() { MaxRecords = Random.Next(3) * Random.Next(1, 20) };

    private static byte[] Command(Action<IBufferWriter<byte>> write)
    {
        var into = new ArrayBufferWriter<byte>();
        write(into);
        return into.WrittenSpan.ToArray();
    }

    private sealed class Step(string what, GroupId group, byte[] command, long? number = null)
    {
        public GroupId Group => group;

        public byte[] Command => command;

        /// <summary>Of the batch that it stores.</summary>
        public long? Number => number;

        /// <summary>Whether an answer is right, which may depend on whether an earlier try may have worked.</summary>
        public required Func<CommandResult, bool, bool> Take { get; init; }

        /// <summary>Whether a machine sees that what was answered has come about; null: at once.</summary>
        public Func<SimulatedMachine, bool>? IsDone { get; init; }

        public int Attempts { get; set; }

        /// <summary>What is left is to wait until it is done.</summary>
        public bool IsAnswered { get; set; }

        public bool IsUncertain { get; set; }

        public override string ToString() => what;
    }
}
