using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client with a topic of its own, which it makes, changes, publishes to and deletes, one thing after the other; each
/// is sent again, anywhere, until it is answered. Nobody else touches the topic, so it can tell every right answer from
/// a wrong one.
/// </summary>
internal sealed class TopicOwner(SimulatedGroup group)
{
    public const string Topic = "owned";

    private const long AnswerWithinUs = 1_000_000;
    private const ulong Producer = 500;
    private const int MaxBatchRecords = 3;

    private readonly Model _model = new();
    private Step? _step;
    private ulong _sequence;

    private World World => group.World;

    private Random Random => World.Random;

    public void Begin() => Soon(Next);

    private void Soon(Action what) =>
        World.Scheduler.After(Random.NextInt64(World.ProposeIntervalMaxUs), () =>
        {
            if (World.ClientsAreDone)
            {
                return;
            }

            if (World.ClientsRest)
            {
                Soon(what);
                return;
            }

            what();
        });

    private void Next()
    {
        _step = Random.Next(20) switch
        {
            0 or 1 => Create(),
            2 or 3 or 4 => Update(),
            5 => Delete(),
            6 or 7 => PublishAtOffset(isRight: true),
            8 => PublishAtOffset(isRight: false),

            // Where producers are soon forgotten, only the condition keeps a batch from being stored again.
            _ when World.Scenario.HasCrowd => PublishAtOffset(isRight: true),
            _ => Publish(),
        };
        Send(_step);
    }

    private void Send(Step step)
    {
        if (step != _step)
        {
            return;
        }

        var leaders = group.Nodes.OfType<ReplicaNode>().Where(node => node.IsLeader).ToArray();
        if (leaders.Length == 0)
        {
            Soon(() => Send(step));
            return;
        }

        var attempt = ++step.Attempts;
        leaders[Random.Next(leaders.Length)].Propose(step.Command, step.Number, (result, refusal) =>
        {
            step.IsUncertain |= refusal is { Code: RefusalCode.OutcomeUnknown };
            if (step != _step)
            {
                return;
            }

            if (result is { } answer)
            {
                Take(step, answer);
            }
            else if (attempt == step.Attempts)
            {
                Soon(() => Send(step));
            }
        });
        World.Scheduler.After(AnswerWithinUs, () =>
        {
            if (step == _step && attempt == step.Attempts)
            {
                step.IsUncertain = true;
                Send(step);
            }
        });
    }

    private void Take(Step step, in CommandResult answer)
    {
        World.Check(
            step.Take(answer, step.IsUncertain), $"{Topic}: {step} is answered {answer}, and is {_model} before it");
        World.Figures.Count(Figure.TopicSteps);
        _step = null;
        Soon(Next);
    }

    private Step Create()
    {
        var settings = Draw();
        return new Step($"making it with {settings}", Command(into =>
            TopicCommands.WriteCreateTopic(into, Topic, settings)))
        {
            Take = (answer, isUncertain) =>
            {
                if (_model.Exists)
                {
                    return _model.Settings == settings
                        ? answer is { Code: RefusalCode.None, Duplicate: true }
                        : answer.Code == RefusalCode.AlreadyExists;
                }

                _model.Begin(settings);
                return answer.Code == RefusalCode.None && (!answer.Duplicate || isUncertain);
            },
        };
    }

    private Step Update()
    {
        var settings = Draw();
        return new Step($"changing it to {settings}", Command(into =>
            TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings)))
        {
            Take = (answer, _) =>
            {
                _model.Settings = _model.Exists ? settings : _model.Settings;
                return answer.Code == (_model.Exists ? RefusalCode.None : RefusalCode.NotFound);
            },
        };
    }

    private Step Delete() => new("deleting it", Command(into => TopicCommands.WriteDeleteTopic(into, Topic)))
    {
        Take = (answer, isUncertain) =>
        {
            var isDone = _model.Exists && answer.Code == RefusalCode.None;
            var wasDone = (!_model.Exists || isUncertain) && answer.Code == RefusalCode.NotFound;
            _model.Exists = false;
            return isDone || wasDone;
        },
    };

    private Step Publish()
    {
        var count = Random.Next(1, MaxBatchRecords + 1);
        var stamp = new PublishStamp(Producer, 1, _sequence);
        var number = World.NextValue();
        _sequence += (ulong)count;
        return new Step($"publish {number}", PublishProposal.Encode(Topic, stamp, count, number), number)
        {
            Take = (answer, isUncertain) => answer.Code == RefusalCode.None
                && (!answer.Duplicate || isUncertain)
                && _model.TryStore(answer.BaseOffset, count, answer.Topic),
        };
    }

    /// <summary>Without a stamp: the condition alone keeps a repetition from being stored twice.</summary>
    private Step PublishAtOffset(bool isRight)
    {
        var count = Random.Next(1, MaxBatchRecords + 1);
        var next = _model.Next;
        var expected = isRight ? next : next + Random.Next(1, 5);
        var number = World.NextValue();
        return new Step(
            $"publish {number} at {expected}",
            PublishProposal.Encode(Topic, PublishStamp.None, count, number, expected),
            number)
        {
            Take = (answer, isUncertain) =>
            {
                if (!isRight)
                {
                    group.History.NoteRefused(number);
                    return answer.Code == RefusalCode.UnexpectedOffset && answer.Expected == (ulong)next;
                }

                var wasStored = isUncertain && answer.Code == RefusalCode.UnexpectedOffset
                    && answer.Expected == (ulong)(next + count);
                return (wasStored || answer.Code == RefusalCode.None)
                    && _model.TryStore(wasStored ? next : answer.BaseOffset, count, wasStored ? null : answer.Topic);
            },
        };
    }

    private TopicSettings Draw() => new() { MaxRecords = Random.Next(3) * Random.Next(1, 20) };

    private static byte[] Command(Action<IBufferWriter<byte>> write)
    {
        var into = new ArrayBufferWriter<byte>();
        write(into);
        return into.WrittenSpan.ToArray();
    }

    /// <summary>What the topic is after the steps that were answered.</summary>
    private sealed class Model
    {
        private int _lastNumber = -1;
        private int? _number;

        public bool Exists { get; set; }

        public TopicSettings Settings { get; set; } = TopicSettings.Default;

        public long Next => Exists ? _next : 0;

        private long _next;

        public void Begin(TopicSettings settings)
        {
            (Exists, Settings, _next, _number) = (true, settings, 0, null);
        }

        /// <summary>Whether a batch may get that offset in that topic; null: which one is not known.</summary>
        public bool TryStore(long offset, int count, int? number)
        {
            if (!Exists)
            {
                Begin(TopicSettings.Default);
            }

            // A topic keeps its number; one that has its name later has a higher one.
            var isRight = offset == _next
                && (number is null || (_number is { } known ? number == known : number > _lastNumber));
            _next += count;
            _number ??= number;
            _lastNumber = _number ?? _lastNumber;
            return isRight;
        }

        public override string ToString() => Exists ? $"{Settings} with next offset {_next}" : "not there";
    }

    private sealed class Step(string what, byte[] command, long? number = null)
    {
        public byte[] Command => command;

        /// <summary>Of the batch that it stores.</summary>
        public long? Number => number;

        /// <summary>Whether an answer is right, which may depend on whether an earlier try may have worked.</summary>
        public required Func<CommandResult, bool, bool> Take { get; init; }

        public int Attempts { get; set; }

        public bool IsUncertain { get; set; }

        public override string ToString() => what;
    }
}
