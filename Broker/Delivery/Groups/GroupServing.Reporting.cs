using Broker.Diagnostics;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>What operators ask of the group here, and what the metrics say of it.</content>
internal sealed partial class GroupServing
{
    /// <summary>The numbers of topics that it follows, but for its dead letters, and their names here.</summary>
    private IEnumerable<(int Number, string Place)> Places => Topics.All
        .Where(each => each.Value != Topics.DeadPlace)
        .Select(static each => (each.Key, each.Value));

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

    /// <summary>The topics that it follows, but for its dead letters, and how many of these there are.</summary>
    public (IReadOnlyList<PlaceReport> Places, long DeadLetters) Report(Func<string, int, bool> isWanted)
    {
        var places = new Dictionary<string, PlaceReport>(StringComparer.Ordinal);
        var dead = 0L;
        foreach (var (number, place) in Topics.All)
        {
            var lane = _dispatcher.Describe(number, Now);
            if (place == Topics.DeadPlace)
            {
                dead += lane.Fresh;
                continue;
            }

            var (topic, partition) = PartitionName.Parse(DueTopic.TargetOf(place));
            if (isWanted(topic, partition))
            {
                var report = new PlaceReport(
                    topic,
                    partition,
                    lane.Floor,
                    lane.Next,
                    lane.Fresh + lane.Known,
                    TimeOf(place, lane.Floor, lane.Next),
                    lane.Out,
                    lane.Waiting,
                    lane.Redeliveries,
                    lane.Expired);
                var target = DueTopic.TargetOf(place);
                places[target] = !places.TryGetValue(target, out var other) ? report
                    : DueTopic.IsOne(place) ? other.With(report)
                    : report.With(other);
            }
        }

        return ([.. places.Values], dead);
    }

    /// <summary>Which offset a seek means in each topic.</summary>
    public (int Number, long Offset)[] PlanSeek(Func<string, int, bool> isWanted, GroupSeek target)
    {
        var moves = new List<(int Number, long Offset)>();
        foreach (var (number, place) in Places)
        {
            // What is due goes with its topic, but for an offset, which is of the topic's own.
            var (topic, partition) = PartitionName.Parse(DueTopic.TargetOf(place));
            if ((target.Offset is not null && DueTopic.IsOne(place)) || !isWanted(topic, partition)
                || !_shard.Topics.TryGetTopic(place, out var view) || view.Number != number)
            {
                continue;
            }

            var offset = target.Offset
                ?? (target.TimeUnixMs is { } time ? (view.TryFindTime(time, out var found) ? found : view.FirstOffset)
                : target.IsEnd ? view.NextOffset
                : 0);
            moves.Add((number, offset));
        }

        return [.. moves];
    }

    /// <summary>See <see cref="IConsumerGroups.PeekAsync"/>: those of this shard.</summary>
    public IReadOnlyList<PeekedPlace> Peek(PeekState state, PlaceOfRecord? after, int most)
    {
        var now = Now;
        var found = new List<PeekedPlace>();
        var places = Topics.All
            .Select(static each => (Number: each.Key, Name: PartitionName.Parse(each.Value)))
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

    /// <summary>How far it is, over all its topics here.</summary>
    public ConsumerGroupFigures Figures()
    {
        var now = Now;
        var (lag, outstanding, delayed, oldest) = (0L, 0L, 0L, now);
        foreach (var (number, place) in Places)
        {
            var lane = _dispatcher.Describe(number, now);
            if (lane.Fresh + lane.Known > 0)
            {
                lag += lane.Fresh + lane.Known;
                outstanding += lane.Out;
                delayed += lane.Delayed;
                oldest = TimeOf(place, lane.Floor, lane.Next) is > 0 and var time ? Math.Min(oldest, time) : oldest;
            }
        }

        return new ConsumerGroupFigures(
            Group.Name, lag, outstanding, delayed, TimeSpan.FromMilliseconds(now - oldest));
    }

    private long TimeOf(string place, long offset, long next)
    {
        var batches = new List<BatchLocation>();
        return offset < next && _shard.Topics.TryGetTopic(place, out var view)
            && view.TryLocate(offset, offset + 1, 1, batches, out _)
            ? batches[0].TimestampUnixMs
            : 0;
    }
}
