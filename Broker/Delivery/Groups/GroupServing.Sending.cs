using Broker.Diagnostics;
using Broker.Groups;
using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;

namespace Broker.Delivery;

/// <content>Reading what was given from the log, and handing it to the consumer.</content>
internal sealed partial class GroupServing
{
    /// <summary>
    /// Everything in the range is sent, or taken back, or skipped because it is gone or not worth it any more: exactly
    /// one of these.
    /// </summary>
    private void Send(in GivenRecords given, long nowUnixMs)
    {
        var token = given.Token;
        if (!shard.Topics.TryGetTopic(_places[token.Topic], out var view) || view.Number != token.Topic)
        {
            Unfollow(token.Topic);
            return;
        }

        if (DueTopic.IsOne(view.Name))
        {
            SendDue(view, given, nowUnixMs);
            return;
        }

        var consumer = _consumers[given.Consumer];
        var (_, _, budget) = _dispatcher.Describe(given.Consumer);
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
                _dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs + RetryMs);
                at = end;
            }
            else
            {
                if (next > view.FirstOffset)
                {
                    DeliveryEvents.GroupSkipsLost(shard.Logger, Group.Name, view.Name, at, next);
                }

                _dispatcher.Skip(token, new OffsetRange(at, next));
                at = next;
            }
        }

        if (at < end)
        {
            _dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs);
        }

        _dispatcher.Charge(given.Consumer, sent);
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
                _dispatcher.Skip(token, new OffsetRange(at, batch.BaseOffset));
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
                    _dispatcher.Skip(token, range);
                }
                else if (run.IsOver)
                {
                    _dispatcher.Expire(token, range);
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
            _dispatcher.Skip(token, new OffsetRange(at, next));
            at = next;
        }

        return at;
    }

    /// <summary>Returns the bytes that it takes of the consumer's credit: those that the session counts, too.</summary>
    private int Deliver(ShardConsumer consumer, in StoredRecord records, in DeliveryToken token)
    {
        var bytes = records.Bytes;
        var (topic, partition) = PartitionName.Parse(records.View.Name);
        var delivery = new GroupDelivery(
            DeliveryTokens.Encode(shard.Id, Group.Number, token),
            topic,
            partition,
            records.Offset,
            records.TimestampUnixMs,
            bytes,
            (int)token.Range.Count,
            token.Attempt);
        if (records.View.Name == _dead.Place)
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
        _counts.AddDelivered(delivery.Count, token.Attempt > 1);
        consumer.Outlet.Deliver(delivery);
        return delivery.Batch.Length;
    }
}
