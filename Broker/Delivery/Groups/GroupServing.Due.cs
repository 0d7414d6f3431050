using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>
/// Delayed records that are due: the group is given references to them, and delivers the records. Where they stand
/// themselves they are passed over.
/// </content>
internal sealed partial class GroupServing
{
    /// <summary>References of which the records' keys are looked up at once: a read each.</summary>
    private const int FollowedAtOnce = 64;

    private readonly SingleRecords _records = new(shard);
    private readonly List<long> _references = [];

    /// <summary>As <see cref="Send(in GivenRecords, long)"/>, of references.</summary>
    private void SendDue(in TopicView due, in GivenRecords given, long nowUnixMs)
    {
        var token = given.Token;
        var consumer = _consumers[given.Consumer];
        var (_, _, budget) = _dispatcher.Describe(given.Consumer);
        var (at, end, sent) = (token.Range.First, token.Range.End, 0L);
        while (at < end && sent < budget)
        {
            if (!_records.TryReadReferences(due, new OffsetRange(at, end), _references))
            {
                _dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs + RetryMs);
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
            _dispatcher.TakeBack(token, new OffsetRange(at, end), nowUnixMs);
        }

        _dispatcher.Charge(given.Consumer, sent);
    }

    private int SendDue(
        in TopicView due, long reference, ShardConsumer consumer, in DeliveryToken token, long nowUnixMs)
    {
        if (!_records.TryFollow(due, reference, out var record))
        {
            _dispatcher.TakeBack(token, token.Range, nowUnixMs + RetryMs);
        }
        else if (record.Bytes.IsEmpty)
        {
            _dispatcher.Skip(token, token.Range);
        }
        else if (TimesToLive.IsOverOfDelayed(record.Bytes.Span, nowUnixMs))
        {
            _dispatcher.Expire(token, token.Range);
        }
        else
        {
            return Deliver(consumer, record, token);
        }

        return 0;
    }

    /// <summary>
    /// The record at a place that the group follows, or the one that a reference there names. False: not now.
    /// </summary>
    private bool TryReadOne(in TopicView view, long offset, out StoredRecord record)
    {
        if (!DueTopic.IsOne(view.Name))
        {
            return _records.TryRead(view, offset, out record);
        }

        record = default;
        return _records.TryReadReferences(view, OffsetRange.One(offset), _references)
            && _records.TryFollow(view, _references[0], out record);
    }

    /// <summary>False: nothing can be read now.</summary>
    private bool TryLookUpDue(in TopicView due, OffsetRange range)
    {
        _keys.Clear();
        var few = range with { End = Math.Min(range.End, range.First + FollowedAtOnce) };
        if (!_records.TryReadReferences(due, few, _references))
        {
            return false;
        }

        foreach (var reference in _references)
        {
            if (!_records.TryFollow(due, reference, out var record))
            {
                break;
            }

            _keys.Add(record.Bytes.IsEmpty ? default : KeyOf(record.Bytes.Span));
        }

        return TakeKeys(due, range.First);
    }
}
