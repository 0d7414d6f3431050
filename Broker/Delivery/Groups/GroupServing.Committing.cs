using System.Buffers;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>What goes into the shard's log.</content>
internal sealed partial class GroupServing
{
    private void Commit(SettleCommand settle)
    {
        Propose(into => GroupCommands.WriteSettle(into, settle), result =>
        {
            _dispatcher.OnSettled(settle, result.Code, Now);
            if (result.Code == RefusalCode.None && _places.GetValueOrDefault(settle.Topic) == _dead.Place)
            {
                TrimDeadLetters(result.BaseOffset);
            }
        });
    }

    /// <summary>Which records of a delivery are not the consumer's any more.</summary>
    public void FindLost(in DeliveryToken token, ICollection<long> lost) => _dispatcher.FindLost(token, lost);

    /// <summary>A command is proposed that finishes the records, and publishes what was made of them.</summary>
    public void BeginPublishing(in DeliveryToken token) => _dispatcher.BeginPublishing(token);

    public void EndPublishing(in DeliveryToken token, bool isDone)
    {
        _dispatcher.EndPublishing(token, isDone, Now);
        if (isDone && _places.GetValueOrDefault(token.Topic) == _dead.Place)
        {
            TrimDeadLetters(_dispatcher.Describe(token.Topic, Now).Floor);
        }
    }

    /// <summary>What was sent on its way again and finished, or removed, need not be kept.</summary>
    private void TrimDeadLetters(long floor)
    {
        if (shard.Topics.TryGetTopic(_dead.Place, out var view) && view.FirstOffset < floor)
        {
            Propose(into => TopicCommands.WritePurgeTopic(into, _dead.Place, floor), static _ => { });
        }
    }

    private void Bury(DyingRecord dying)
    {
        var (topic, turn, offset) = (dying.Topic, dying.Turn, dying.Offset);
        if (!shard.Topics.TryGetTopic(_places[topic], out var view) || view.Number != topic)
        {
            Unfollow(topic);
            return;
        }

        if (!TryReadOne(view, offset, out var record))
        {
            _dispatcher.OnBuried(topic, turn, offset, RefusalCode.Overloaded, Now);
            return;
        }

        if (record.Bytes.IsEmpty)
        {
            _dispatcher.OnGone(topic, turn, offset);
            return;
        }

        if (!shard.Topics.TryGetTopic(_dead.Place, out var dead))
        {
            AskForDeadLetters();
            _dispatcher.OnBuried(topic, turn, offset, RefusalCode.NotFound, Now);
            return;
        }

        var (name, partition) = PartitionName.Parse(record.View.Name);
        var copy = DeadLetters.Bury(
            record.Bytes.Span,
            new RecordOrigin(name, partition, record.Offset, record.TimestampUnixMs),
            view.Name == _dead.Place,
            dying.Attempts,
            dying.Reason ?? "");
        Propose(
            into => GroupCommands.WriteBury(into, Group.Number, topic, turn, offset, dead.Number, copy),
            result => _dispatcher.OnBuried(topic, turn, offset, result.Code, Now));
    }

    /// <summary>The topic of dead letters is made when the first record dies, in all shards at once.</summary>
    private void AskForDeadLetters()
    {
        var now = Now;
        if (now - _deadLettersAskedAt >= 2 * RetryMs)
        {
            _deadLettersAskedAt = now;
            host.MakeDeadLetters(Group.Name);
        }
    }

    private void Propose(Action<IBufferWriter<byte>> write, Action<CommandResult> done) => host.Propose(write, result =>
    {
        done(result);
        host.Touch(this);
    });
}
