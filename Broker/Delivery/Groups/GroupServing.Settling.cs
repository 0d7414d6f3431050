using System.Buffers;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>How records come to an end, and what of that goes into the shard's log.</content>
internal sealed partial class GroupServing
{
    private readonly Dictionary<long, Action<int, BrokerException?>> _settles = [];
    private long _nextSettle;
    private long _deadLettersAskedAt;

    /// <summary>Says how many records were not the consumer's any more, or why nothing is known to be done.</summary>
    public void Settle(in TokenOrder order, Action<int, BrokerException?> done) => _dispatcher.Settling.Settle(
        new SettleRequest(Await(done), order.Kind, order.Token, order.DelayMs, order.Reason), Now);

    /// <summary>Answers when it is committed.</summary>
    public void TakeDead(DeadOrder order, Action<DeadTaken, BrokerException?> done)
    {
        if (!Topics.TryGetNumber(Topics.DeadPlace, out var topic))
        {
            done(default, null);
            return;
        }

        var end = order.Before ?? _dispatcher.Describe(topic, Now).Next;
        var (count, open, left) = (0, 1, 0L);
        void Finish(int lost, BrokerException? refusal)
        {
            if (--open == 0)
            {
                done(new DeadTaken(count, left, end), refusal);
            }
        }

        long?[] which = order.Offsets.Count == 0
            ? [null]
            : [.. order.Offsets.Where(each => each < end).Select(static each => (long?)each)];
        foreach (var offset in which)
        {
            if (count < order.Most)
            {
                open++;
                count += _dispatcher.Dying.TakeDead(
                    Await(Finish), topic, offset, order.IsPurge, Now, end, order.Most - count);
            }
        }

        left = which.Sum(offset => _dispatcher.Dying.CountDead(topic, offset, end));
        Finish(0, null);
    }

    /// <summary>Which records of a delivery are not the consumer's any more.</summary>
    public void FindLost(in DeliveryToken token, ICollection<long> lost) => _dispatcher.Settling.FindLost(token, lost);

    /// <summary>A command is proposed that finishes the records, and publishes what was made of them.</summary>
    public void BeginPublishing(in DeliveryToken token) => _dispatcher.Settling.BeginPublishing(token);

    public void EndPublishing(in DeliveryToken token, bool isDone)
    {
        _dispatcher.Settling.EndPublishing(token, isDone, Now);
        if (isDone && Topics.IsOfTheDead(token.Topic))
        {
            TrimDeadLetters(_dispatcher.Describe(token.Topic, Now).Floor);
        }
    }

    private void Commit(SettleCommand settle)
    {
        Propose(into => GroupCommands.WriteSettle(into, settle), result =>
        {
            _dispatcher.Settling.OnSettled(settle, result.Code, Now);
            if (result.Code == RefusalCode.None && Topics.IsOfTheDead(settle.Topic))
            {
                TrimDeadLetters(result.BaseOffset);
            }
        });
    }

    /// <summary>What was sent on its way again and finished, or removed, need not be kept.</summary>
    private void TrimDeadLetters(long floor)
    {
        if (_shard.Topics.TryGetTopic(Topics.DeadPlace, out var view) && view.FirstOffset < floor)
        {
            Propose(into => TopicCommands.WritePurgeTopic(into, Topics.DeadPlace, floor), static _ => { });
        }
    }

    private void Bury(DyingRecord dying)
    {
        var (topic, turn, offset) = (dying.Topic, dying.Turn, dying.Offset);
        if (!Topics.TryGet(topic, out var view))
        {
            return;
        }

        if (!_records.TryReadOrFollow(view, offset, out var record))
        {
            _dispatcher.Dying.OnBuried(topic, turn, offset, RefusalCode.Overloaded, Now);
            return;
        }

        if (record.Bytes.IsEmpty)
        {
            _dispatcher.Dying.OnGone(topic, turn, offset);
            return;
        }

        if (!_shard.Topics.TryGetTopic(Topics.DeadPlace, out var dead))
        {
            AskForDeadLetters();
            _dispatcher.Dying.OnBuried(topic, turn, offset, RefusalCode.NotFound, Now);
            return;
        }

        var (name, partition) = PartitionName.Parse(record.View.Name);
        var copy = DeadLetters.Bury(
            record.Bytes.Span,
            new RecordOrigin(name, partition, record.Offset, record.TimestampUnixMs),
            view.Name == Topics.DeadPlace,
            dying.Attempts,
            dying.Reason ?? "");
        Propose(
            into => GroupCommands.WriteBury(into, Group.Number, topic, turn, offset, dead.Number, copy),
            result => _dispatcher.Dying.OnBuried(topic, turn, offset, result.Code, Now));
    }

    /// <summary>The topic of dead letters is made when the first record dies, in all shards at once.</summary>
    private void AskForDeadLetters()
    {
        var now = Now;
        if (now - _deadLettersAskedAt >= 2 * ShardPlace.RetryMs)
        {
            _deadLettersAskedAt = now;
            _makeDeadLetters(Group.Name);
        }
    }

    private long Await(Action<int, BrokerException?> done)
    {
        _settles.Add(++_nextSettle, done);
        return _nextSettle;
    }

    private void Answer()
    {
        foreach (var answer in _dispatcher.Settling.TakeAnswers())
        {
            if (_settles.Remove(answer.Id, out var done))
            {
                done(answer.Lost, null);
            }
        }
    }

    private void Propose(Action<IBufferWriter<byte>> write, Action<CommandResult> done) =>
        _turns.Propose(write, result =>
        {
            done(result);
            _queue.Touch(this);
        });
}
