using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Groups;
using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;

namespace Broker.Delivery;

/// <summary>
/// Reads what a group's dispatcher has given from the log, and hands it to the consumer. Delayed records that are due
/// are given as references to them: those are followed, and where such records stand themselves they are passed over.
/// As the <see cref="GroupServing"/> that owns it, it is used in the turns of a <see cref="ShardGroups"/> alone.
/// </summary>
/// <param name="shard">Where the records are.</param>
/// <param name="dispatcher">Hears what became of what it gave.</param>
/// <param name="topics">What the group follows.</param>
/// <param name="singles">Follow references.</param>
/// <param name="consumers">Those that the group has here, by number.</param>
/// <param name="counts">Where what is delivered is counted.</param>
/// <param name="group">Of it the name and the number, which stay.</param>
internal sealed class GroupSender(
    ShardPlace shard,
    GroupDispatcher dispatcher,
    FollowedTopics topics,
    SingleRecords singles,
    IReadOnlyDictionary<int, ShardConsumer> consumers,
    ConsumerGroupCounts counts,
    ConsumerGroup group)
{
    private readonly List<long> _references = [];

    /// <summary>
    /// Everything in the range is sent, or taken back, or skipped because it is gone or not worth it any more: exactly
    /// one of these.
    /// </summary>
    public void Send(in GivenRecords given, long nowUnixMs)
    {
        var token = given.Token;
        if (!topics.TryGet(token.Topic, out var view))
        {
            return;
        }

        if (DueTopic.IsOne(view.Name))
        {
            SendDue(view, given, nowUnixMs);
            return;
        }

        var consumer = consumers[given.Consumer];
        var (_, _, budget) = dispatcher.Describe(given.Consumer);
        var (at, end, sent) = (token.Range.First, token.Range.End, 0L);
        while (at < end && sent < budget)
        {
            if (shard.Reader.ReadRange(view, at, end) is { } page)
            {
                at = Send(page, consumer, view, token, at, nowUnixMs, ref sent, budget);
                continue;
            }

            // Nothing of it is kept, or no replica can read it; else it can be read in a moment.
            var next = shard.Reader.FindGoneEnd(view, at, end);
            if (next <= at)
            {
                dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs + ShardPlace.RetryMs);
                at = end;
            }
            else
            {
                if (next > view.FirstOffset)
                {
                    DeliveryEvents.GroupSkipsLost(shard.Logger, group.Name, view.Name, at, next);
                }

                dispatcher.Skip(token, new OffsetRange(at, next));
                at = next;
            }
        }

        if (at < end)
        {
            dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs);
        }

        dispatcher.Charge(given.Consumer, sent);
    }

    /// <summary>Returns behind what was sent or skipped; that is all of the page, unless the budget ended.</summary>
    private long Send(
        ReadPage page,
        ShardConsumer consumer,
        in TopicView view,
        in DeliveryToken token,
        long at,
        long nowUnixMs,
        ref long sent,
        long budget)
    {
        var end = token.Range.End;
        foreach (var batch in page.Batches)
        {
            var behind = Math.Min(batch.BaseOffset + batch.Count, end);
            if (behind <= at)
            {
                continue;
            }

            if (sent >= budget || batch.BaseOffset >= end)
            {
                break;
            }

            if (batch.BaseOffset > at)
            {
                dispatcher.Skip(token, new OffsetRange(at, batch.BaseOffset));
                at = batch.BaseOffset;
            }

            var bytes = SingleRecords.Slice(batch, new OffsetRange(at, behind));
            while (at < behind)
            {
                var run = TimesToLive.FirstRun(bytes.Span, batch.TimestampUnixMs, nowUnixMs);
                var range = new OffsetRange(at, at + run.Count);
                if (run.IsDelayed)
                {
                    // The group has it when it is due, by its reference.
                    dispatcher.Skip(token, range);
                }
                else if (run.IsOver)
                {
                    dispatcher.Expire(token, range);
                }
                else
                {
                    var part = bytes[..run.Bytes];
                    var records = new StoredRecord(view, at, batch.TimestampUnixMs, part);
                    sent += Deliver(consumer, records, token with { Range = range });
                }

                bytes = bytes[run.Bytes..];
                at = range.End;
            }
        }

        var next = Math.Min(page.NextOffset, end);
        if (sent < budget && next > at)
        {
            dispatcher.Skip(token, new OffsetRange(at, next));
            at = next;
        }

        return at;
    }

    /// <summary>As <see cref="Send(in GivenRecords, long)"/>, of references.</summary>
    private void SendDue(in TopicView due, in GivenRecords given, long nowUnixMs)
    {
        var token = given.Token;
        var consumer = consumers[given.Consumer];
        var (_, _, budget) = dispatcher.Describe(given.Consumer);
        var (at, end, sent) = (token.Range.First, token.Range.End, 0L);
        while (at < end && sent < budget)
        {
            if (!singles.TryReadReferences(due, new OffsetRange(at, end), _references))
            {
                dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs + ShardPlace.RetryMs);
                at = end;
            }

            for (var i = 0; i < _references.Count && sent < budget; i++)
            {
                var one = token with { Range = OffsetRange.One(at++) };
                sent += SendDue(due, _references[i], consumer, one, nowUnixMs);
            }
        }

        if (at < end)
        {
            dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs);
        }

        dispatcher.Charge(given.Consumer, sent);
    }

    private int SendDue(
        in TopicView due, long reference, ShardConsumer consumer, in DeliveryToken token, long nowUnixMs)
    {
        if (!singles.TryFollow(due, reference, out var record))
        {
            dispatcher.TakeBack(token, token.Range, nowUnixMs + ShardPlace.RetryMs);
        }
        else if (record.Bytes.IsEmpty)
        {
            dispatcher.Skip(token, token.Range);
        }
        else if (TimesToLive.IsOverOfDelayed(record.Bytes.Span, nowUnixMs))
        {
            dispatcher.Expire(token, token.Range);
        }
        else
        {
            return Deliver(consumer, record, token);
        }

        return 0;
    }

    /// <summary>Returns the bytes that it takes of the consumer's credit: those that the session counts, too.</summary>
    private int Deliver(ShardConsumer consumer, in StoredRecord records, in DeliveryToken token)
    {
        var bytes = records.Bytes;
        var (topic, partition) = PartitionName.Parse(records.View.Name);
        var delivery = new GroupDelivery(
            DeliveryTokens.Encode(shard.Id, group.Number, token),
            topic,
            partition,
            records.Offset,
            records.TimestampUnixMs,
            bytes,
            (int)token.Range.Count,
            token.Attempt);
        if (records.View.Name == topics.DeadPlace)
        {
            // It comes again as the record that it was.
            var record = RecordBatch.Parser.ParseFrom(bytes.Span).Records[0];
            if (DeadLetters.TakeOrigin(record, out _, out _) is { } origin)
            {
                delivery = delivery with
                {
                    Topic = origin.Topic,
                    Partition = origin.Partition,
                    BaseOffset = origin.Offset,
                    TimestampUnixMs = origin.TimestampUnixMs,
                    Batch = new RecordBatch { Records = { record } }.ToByteArray(),
                };
            }
        }

        using var span = BrokerSpans.StartHandOver("deliver", topic, bytes.Span, records.Offset, delivery.Count);
        counts.AddDelivered(delivery.Count, token.Attempt > 1);
        consumer.Outlet.Deliver(delivery);
        return delivery.Batch.Length;
    }
}
