using System.Runtime.CompilerServices;
using Broker.Client;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// Follows all topics of a node that filters match, those that come later too. It remembers how far it is in each, and
/// reads what is new from the log, a page of one topic at a time and then the next topic: so it loses nothing, however
/// slow its caller is, and one busy topic does not hold up the others.
/// </summary>
/// <param name="readers">The readers of all data shards.</param>
/// <param name="shards">Which of them has a topic.</param>
/// <param name="signal">Who tells of news, by the names that topics and partitions have in their shards.</param>
/// <param name="elsewhere">Gives what this node's replica cannot; null: nobody does.</param>
public sealed class FilterReader(
    IReadOnlyDictionary<GroupId, TopicReader> readers,
    ShardMap shards,
    TailSignal signal,
    IReadElsewhere? elsewhere = null)
{
    /// <summary>
    /// What is new, in offset order for each partition of a topic; between them there is no order. The first item has
    /// no topic and no page: what is acknowledged after it came is not missed. It ends when it is cancelled.
    /// </summary>
    /// <exception cref="BrokerException">
    /// Overloaded: too many subscriptions. FailedPrecondition: this replica cannot give what is wanted now.
    /// DataLost: none can.
    /// </exception>
    public async IAsyncEnumerable<SubscribedPage> ReadAsync(
        IEnumerable<TopicFilter> filters,
        SubscriptionStart start,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // The place is taken before the first look at the topics, so nothing falls between the look and the wait.
        using var watch = signal.Watch(new TopicFilterSet(filters));
        var resumeToken = ResumeToken.Encode(readers.Values.Select(reader => (reader.Group, reader.LogTimeUnixMs)));
        var cursors = FirstCursors(watch, start);
        yield return new SubscribedPage("", 0, null, resumeToken);

        while (true)
        {
            if (watch.TakeAll())
            {
                MarkAll(watch);
            }

            while (watch.TryTake(out var name))
            {
                cancellationToken.ThrowIfCancellationRequested();
                var (topic, partition) = PartitionName.Parse(name);
                var home = shards.GroupOf(topic);
                var reader = readers[shards.GroupOf(home, partition)];
                var cursor = cursors.GetValueOrDefault(name, TopicCursor.Beginning);
                var (isThere, next, page) = await ReadNextAsync(reader, home, name, cursor, cancellationToken);
                if (!isThere)
                {
                    cursors.Remove(name);
                    continue;
                }

                cursors[name] = next;
                if (page is not null)
                {
                    if (page.NextOffset < page.HighWatermark)
                    {
                        watch.Mark(name);
                    }

                    var id = new TopicId(home, next.Number);
                    yield return new SubscribedPage(topic, partition, page with { Topic = id }, default);
                }
            }

            await watch.WaitAsync(cancellationToken);
        }
    }

    private async ValueTask<(bool IsThere, TopicCursor Next, ReadPage? Page)> ReadNextAsync(
        TopicReader reader, GroupId home, string name, TopicCursor cursor, CancellationToken cancellationToken)
    {
        try
        {
            return reader.ReadNext(name, cursor, out var page) is { } next ? (true, next, page) : default;
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.ReadElsewhere && elsewhere is not null)
        {
            var (number, offset) = reader.PositionOf(name, cursor);
            var page = await elsewhere.ReadPageAsync(
                reader.Group, new TopicId(home, number), name, offset, cancellationToken)
                ?? throw Refusal.ReadElsewhere(name, offset);
            return (true, new TopicCursor(number, page.NextOffset), page);
        }
    }

    private Dictionary<string, TopicCursor> FirstCursors(TopicWatch watch, SubscriptionStart start)
    {
        var cursors = new Dictionary<string, TopicCursor>(StringComparer.Ordinal);
        foreach (var reader in readers.Values)
        {
            foreach (var place in reader.ListPlaces())
            {
                if (watch.Wants(place.Name))
                {
                    var offset = OffsetIn(place, reader.Group, start);
                    cursors[place.Name] = new TopicCursor(place.TopicNumber, offset);
                    if (offset < place.NextOffset)
                    {
                        watch.Mark(place.Name);
                    }
                }
            }
        }

        foreach (var position in start.Positions)
        {
            var name = PartitionName.Of(position.Topic, position.Partition);
            if (!watch.Wants(name) || !position.Id.IsOf(shards.GroupOf(position.Topic)))
            {
                throw Refusal.InvalidArgument(
                    $"The position in topic '{position.Topic}' does not belong to this subscription: no filter matches "
                    + "it, or its topic_id is not one of that name. Take positions from the answers to a subscription "
                    + "with these filters.");
            }

            // A topic of a higher number here is another one, and begins at its beginning.
            var known = cursors.GetValueOrDefault(name, TopicCursor.Beginning);
            cursors[name] = known.Number <= position.Id.Number
                ? new TopicCursor((int)position.Id.Number, position.NextOffset)
                : new TopicCursor(known.Number, 0);
            watch.Mark(name);
        }

        return cursors;
    }

    private static long OffsetIn(in TopicView topic, GroupId group, SubscriptionStart start)
    {
        if (start.TimeIn(group) is not { } time)
        {
            return start.FromBeginning ? 0 : topic.NextOffset;
        }

        return topic.TryFindTime(time, out var offset)
            ? offset
            : throw Refusal.FailedPrecondition(
                $"This replica cannot say now where topic '{topic.Name}' was at that time; subscribe at another one.");
    }

    private void MarkAll(TopicWatch watch)
    {
        foreach (var reader in readers.Values)
        {
            foreach (var place in reader.ListPlaces())
            {
                if (watch.Wants(place.Name))
                {
                    watch.Mark(place.Name);
                }
            }
        }
    }
}

/// <summary>How far a subscription is in one topic.</summary>
/// <param name="Number">
/// The number in the topic's id: one of a higher number has taken its name. -1: none was seen yet.
/// </param>
/// <param name="Offset">The first offset that was not given out.</param>
public readonly record struct TopicCursor(int Number, long Offset)
{
    /// <summary>Of a topic that came after the subscription.</summary>
    public static readonly TopicCursor Beginning = new(-1, 0);
}

/// <summary>One item of a subscription.</summary>
/// <param name="Topic">The topic's name. Empty: the subscription has begun.</param>
/// <param name="Partition">Which of its partitions, from 0.</param>
/// <param name="Page">Its records; null when it has begun.</param>
/// <param name="ResumeToken">With which another one goes on after this one's beginning; only in the first item.</param>
public readonly record struct SubscribedPage(
    string Topic, int Partition, ReadPage? Page, ReadOnlyMemory<byte> ResumeToken);
