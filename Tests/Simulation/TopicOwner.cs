using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client with a topic of its own, which it makes, changes, publishes to and deletes.
/// </summary>
internal sealed class TopicOwner(SimulatedGroup group)
    : StepClient(group.World, Topic, Figure.TopicSteps)
{
    public const string Topic = "owned";

    private const ulong Producer = 500;
    private const int MaxBatchRecords = 3;

    private readonly Model _model = new();
    private ulong _sequence;

    public override string ToString() => $"the topic is {_model}";

    protected override ClientStep Choose() => Random.Next(20) switch
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

    private ClientStep Create()
    {
        var settings = Draw();
        return new ClientStep(group, $"making it with {settings}", Encode(into =>
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

    private ClientStep Update()
    {
        var settings = Draw();
        return new ClientStep(group, $"changing it to {settings}", Encode(into =>
            TopicCommands.WriteUpdateTopic(into, Topic, TopicSettingParts.All, settings)))
        {
            Take = (answer, _) =>
            {
                _model.Settings = _model.Exists ? settings : _model.Settings;
                return answer.Code == (_model.Exists ? RefusalCode.None : RefusalCode.NotFound);
            },
        };
    }

    private ClientStep Delete() => new(
        group, "deleting it", Encode(static into => TopicCommands.WriteDeleteTopic(into, Topic)))
    {
        Take = (answer, isUncertain) =>
        {
            var isDone = _model.Exists && answer.Code == RefusalCode.None;
            var wasDone = (!_model.Exists || isUncertain) && answer.Code == RefusalCode.NotFound;
            _model.Exists = false;
            return isDone || wasDone;
        },
    };

    private ClientStep Publish()
    {
        var count = Random.Next(1, MaxBatchRecords + 1);
        var stamp = new PublishStamp(Producer, 1, _sequence);
        var number = World.NextValue();
        _sequence += (ulong)count;
        return new ClientStep(group, $"publish {number}", PublishProposal.Encode(Topic, stamp, count, number), number)
        {
            Take = (answer, isUncertain) => answer.Code == RefusalCode.None
                && (!answer.Duplicate || isUncertain)
                && _model.TryStore(answer.BaseOffset, count, answer.Topic),
        };
    }

    /// <summary>Without a stamp: the condition alone keeps a repetition from being stored twice.</summary>
    private ClientStep PublishAtOffset(bool isRight)
    {
        var count = Random.Next(1, MaxBatchRecords + 1);
        var next = _model.Next;
        var expected = isRight ? next : next + Random.Next(1, 5);
        var number = World.NextValue();
        return new ClientStep(group,
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
}
