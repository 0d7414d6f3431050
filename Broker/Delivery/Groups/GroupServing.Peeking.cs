using Broker.Groups;

namespace Broker.Delivery;

/// <content>What operators see of single records, and of consumers.</content>
internal sealed partial class GroupServing
{
    public ConsumerReport Describe(ShardConsumer consumer)
    {
        var (records, credit, _) = _dispatcher.Describe(consumer.Number);
        return new ConsumerReport(
            consumer.Name,
            consumer.Session.Node.Value,
            consumer.Session.Number,
            records,
            credit,
            _dispatcher.IsServed(consumer.Number));
    }

    /// <summary>See <see cref="IConsumerGroups.PeekAsync"/>: those of this shard.</summary>
    public IReadOnlyList<PeekedPlace> Peek(PeekState state, PlaceOfRecord? after, int most)
    {
        var now = Now;
        var found = new List<PeekedPlace>();
        var places = _places
            .Select(static each => (Number: each.Key, Name: Topics.PartitionName.Parse(each.Value)))
            .Select(static each => (each.Number, Place: new PlaceOfRecord(each.Name.Topic, each.Name.Partition, 0)))
            .OrderBy(static each => each.Place);
        foreach (var (number, place) in places)
        {
            var isAt = after is not null && (place.Topic, place.Partition) == (after.Topic, after.Partition);
            if (found.Count == most || (!isAt && place.CompareTo(after) < 0))
            {
                continue;
            }

            var from = isAt ? after!.Offset + 1 : 0;
            foreach (var record in _dispatcher.Peek(number, state, from, most - found.Count, now))
            {
                found.Add(new PeekedPlace(
                    place with { Offset = record.Offset },
                    record.Deliveries,
                    record.Consumer,
                    record.Rank.Node,
                    record.Rank.Session,
                    state == PeekState.Waiting ? 0 : record.UntilUnixMs));
            }
        }

        return found;
    }
}
