using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client that publishes to a topic of its own, one batch at a time, as an idempotent producer: it sends again,
/// anywhere, until it is answered. It also repeats batches of long ago, leaves gaps, and begins new epochs. Nobody else
/// writes to its topic and each batch must be stored exactly once, so it can tell every right answer from a wrong one.
/// Where there is a consumer group some publishers delay a part of their records, and cancel a few of these.
/// </summary>
internal sealed class Publisher
{
    private const long AnswerWithinUs = 1_000_000;
    private const long RestUs = 100_000;
    private const int MaxBatchRecords = 3;
    private const int FirstDelaying = 3;
    private const int MaxDelayMs = 1_500;
    private const string TopicPrefix = "publisher.";

    /// <summary>More than any run publishes, so that what is missing never comes.</summary>
    private const ulong GapRecords = 1_000_000;

    private readonly SimulatedGroup _group;
    private readonly World _world;
    private readonly int _id;
    private readonly string _topic;

    /// <summary>Stored batches of the current epoch, in order.</summary>
    private readonly List<Batch> _stored = [];

    private Batch? _newestOfOlderEpoch;
    private Batch _current;
    private bool _isSent;
    private uint _epoch = 1;
    private ulong _nextSequence;
    private long _nextOffset;

    /// <summary>Counts attempts: an answer to an earlier one is checked and otherwise ignored.</summary>
    private int _attempt;

    public Publisher(SimulatedGroup group, int id)
    {
        _group = group;
        _world = group.World;
        _id = id;
        _topic = $"{TopicPrefix}{id}";
        _current = NewBatch();
    }

    public string Topic => _topic;

    public static bool IsOfOne(string topic) => topic.StartsWith(TopicPrefix, StringComparison.Ordinal);

    /// <summary>Records whose publish was confirmed.</summary>
    public long Stored => _nextOffset;

    private Random Random => _world.Random;

    public void Begin() => SendSoon();

    private Batch NewBatch() => new(
        new PublishStamp((ulong)_id, _epoch, _nextSequence),
        Random.Next(1, MaxBatchRecords + 1),
        _world.NextValue(),
        DrawDueMs());

    /// <summary>By the clock of some node; a few are never due. 0: at once.</summary>
    private long DrawDueMs() =>
        !_world.Scenario.HasConsumers || _id < FirstDelaying || _world.IsCalm || Random.Next(3) > 0 ? 0
        : Random.Next(8) > 0
            ? ((ReplicaNode)_group.Nodes[Random.Next(_group.Nodes.Count)]).SteadyMs + Random.Next(MaxDelayMs)
        : Random.Next(2) == 0 ? NodeClock.Epoch.AddDays(60).ToUnixTimeMilliseconds()
        : long.MaxValue;

    private void SendSoon() => _world.Scheduler.After(Random.NextInt64(_world.ProposeIntervalMaxUs), Send);

    private void Send()
    {
        if (_world.ClientsAreDone)
        {
            return;
        }

        var attempt = ++_attempt;
        if (_world.ClientsRest)
        {
            _world.Scheduler.After(RestUs, () => Retry(attempt));
            return;
        }

        _isSent = true;
        Publish(_current, refusal =>
        {
            if (attempt == _attempt && refusal is not null)
            {
                _world.Scheduler.After(5_000 + Random.Next(50_000), () => Retry(attempt));
            }
        });
        _world.Scheduler.After(AnswerWithinUs, () => Retry(attempt));
    }

    private void Retry(int attempt)
    {
        if (attempt == _attempt)
        {
            Send();
        }
    }

    private void Publish(Batch batch, Action<BrokerException?> answered)
    {
        var newerWhenSent = NewerThan(batch, unknown: 0);
        var epochIsOver = batch.Stamp.Epoch < _epoch && _stored.Count > 0;
        ChooseLeader()?.Publish(_topic, batch.Stamp, batch.Count, batch.Number, batch.DueMs, (result, refusal) =>
        {
            if (result is { } answer)
            {
                Take(batch, answer, newerWhenSent, epochIsOver);
            }

            answered(refusal);
        });
    }

    private ReplicaNode? ChooseLeader()
    {
        var leaders = _group.Nodes.OfType<ReplicaNode>().Where(node => node.IsLeader).ToArray();
        return leaders.Length == 0 ? null : leaders[Random.Next(leaders.Length)];
    }

    private void Take(Batch batch, in CommandResult answer, int newerWhenSent, bool epochWasOver)
    {
        if (answer.Code == RefusalCode.ProducerFenced)
        {
            _world.Figures.Count(Figure.FencedProducers);
            World.Check(batch.Stamp.Epoch < _epoch, $"{_topic}: {batch} is fenced in its own epoch");
            return;
        }

        World.Check(!epochWasOver, $"{_topic}: {batch} of an older epoch is answered {answer.Code}");
        World.Check(answer.Code == RefusalCode.None, $"{_topic}: {batch} is answered {answer.Code}");
        if (answer.Duplicate)
        {
            _world.Figures.Count(Figure.DuplicateAnswers);
        }

        if (batch == _current)
        {
            World.Check(
                answer.BaseOffset == _nextOffset,
                $"{_topic}: {batch} is stored at offset {answer.BaseOffset}, not {_nextOffset}: not exactly once");
            Cancel(_current, answer.Topic);
            NoteStored();
            return;
        }

        // Of a producer so many batches are remembered; the one under way may be stored and not confirmed yet.
        const int Remembered = Limits.RememberedBatchesPerProducer;
        var isForgotten = newerWhenSent >= Remembered;
        var mayBeForgotten = NewerThan(batch, unknown: Remembered) + (_isSent ? 1 : 0) >= Remembered;
        var isRight = answer.BaseOffset == batch.Offset ? !isForgotten : answer.BaseOffset == -1 && mayBeForgotten;
        World.Check(isRight, $"{_topic}: {batch}, repeated, is answered offset {answer.BaseOffset}");
    }

    /// <summary>Confirmed batches of the same epoch that came after this one.</summary>
    private int NewerThan(Batch batch, int unknown) =>
        batch.Stamp.Epoch == _epoch && batch.Offset >= 0 ? _stored.Count - 1 - batch.Ordinal : unknown;

    private void Cancel(Batch batch, int topic)
    {
        if (batch.DueMs > 0 && Random.Next(6) == 0)
        {
            _group.GroupHistory!.NoteCancelled(topic, _nextOffset);
            ChooseLeader()?.Propose(
                StepClient.Encode(into => DelayCommands.WriteCancel(into, topic, [_nextOffset])),
                null,
                static (_, _) => { });
        }
    }

    private void NoteStored()
    {
        _current.Offset = _nextOffset;
        _current.Ordinal = _stored.Count;
        _stored.Add(_current);
        _nextOffset += _current.Count;
        _nextSequence += (ulong)_current.Count;
        _attempt++;
        if (Random.Next(40) == 0)
        {
            _newestOfOlderEpoch = _current;
            _stored.Clear();
            _epoch += (uint)Random.Next(1, 3);
            _nextSequence = (ulong)Random.Next(3);
        }

        _current = NewBatch();
        _isSent = false;
        if (Random.Next(6) == 0)
        {
            Misbehave();
        }

        SendSoon();
    }

    /// <summary>A client that is old, confused or wrong; the answer is what <see cref="Take"/> says.</summary>
    private void Misbehave()
    {
        if (Random.Next(4) == 0 && _newestOfOlderEpoch is { } older)
        {
            Publish(older, _ => { });
        }
        else if (Random.Next(4) == 0 && _stored.Count > 0)
        {
            LeaveGap();
        }
        else if (_stored.Count > 0)
        {
            var back = Random.Next(Math.Min(_stored.Count, Limits.RememberedBatchesPerProducer + 4));
            Publish(_stored[_stored.Count - 1 - back], _ => { });
        }
    }

    private void LeaveGap()
    {
        var number = _world.NextValue();
        var stamp = new PublishStamp((ulong)_id, _epoch, _nextSequence + GapRecords);
        var epoch = _epoch;
        ChooseLeader()?.Publish(_topic, stamp, count: 1, number, dueMs: 0, (result, _) =>
        {
            if (result is { } answer)
            {
                // Meanwhile a newer epoch may have come.
                var isRefused = answer.Code == RefusalCode.OutOfSequence
                    || (answer.Code == RefusalCode.ProducerFenced && epoch < _epoch);
                World.Check(isRefused, $"{_topic}: a gap before {stamp} is answered {answer.Code}");
                _group.History.NoteRefused(number);
            }
        });
    }

    /// <summary>What is sent as one, however often.</summary>
    private sealed class Batch(PublishStamp stamp, int count, long number, long dueMs)
    {
        public PublishStamp Stamp => stamp;

        public int Count => count;

        public long Number => number;

        public long DueMs => dueMs;

        /// <summary>-1 until it is confirmed.</summary>
        public long Offset { get; set; } = -1;

        public int Ordinal { get; set; } = -1;

        public override string ToString() => $"batch {number} ({stamp}, {count} records)";
    }
}
