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
/// <param name="shards">The readers of all data shards.</param>
/// <param name="shardOf">Which of them has a topic.</param>
/// <param name="signal">Who tells of news.</param>
public sealed class FilterReader(
    IReadOnlyCollection<TopicReader> shards, Func<string, TopicReader> shardOf, TailSignal signal)
{
    /// <summary>
    /// What is new, in offset order for each topic; between topics there is no order. The first item has no topic and
    /// no page: what is acknowledged after it came is not missed. It ends when it is cancelled.
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
        var resumeToken = ResumeToken.Encode(shards.Select(shard => (shard.Group, shard.LogTimeUnixMs)));
        var cursors = FirstCursors(watch, start);
        yield return new SubscribedPage("", null, resumeToken);

        while (true)
        {
            if (watch.TakeAll())
            {
                MarkAll(watch);
            }

            while (watch.TryTake(out var topic))
            {
                cancellationToken.ThrowIfCancellationRequested();
                var cursor = cursors.GetValueOrDefault(topic, TopicCursor.Beginning);
                var next = shardOf(topic).ReadNext(topic, cursor, out var page);
                if (next is not { } moved)
                {
                    cursors.Remove(topic);
                    continue;
                }

                cursors[topic] = moved;
                if (page is not null)
                {
                    if (page.NextOffset < page.HighWatermark)
                    {
                        watch.Mark(topic);
                    }

                    yield return new SubscribedPage(topic, page, default);
                }
            }

            await watch.WaitAsync(cancellationToken);
        }
    }

    private Dictionary<string, TopicCursor> FirstCursors(TopicWatch watch, SubscriptionStart start)
    {
        var cursors = new Dictionary<string, TopicCursor>(StringComparer.Ordinal);
        foreach (var shard in shards)
        {
            foreach (var topic in shard.ListTopics())
            {
                if (watch.Wants(topic.Name))
                {
                    var offset = OffsetIn(topic, shard.Group, start);
                    cursors[topic.Name] = new TopicCursor(topic.Number, offset);
                    if (offset < topic.NextOffset)
                    {
                        watch.Mark(topic.Name);
                    }
                }
            }
        }

        foreach (var (name, position) in start.Positions)
        {
            var shard = shardOf(name);
            if (!watch.Wants(name) || !position.Topic.IsOf(shard.Group))
            {
                throw Refusal.InvalidArgument(
                    $"The position in topic '{name}' does not belong to this subscription: no filter matches it, or "
                    + "its topic_id is not one of that name. Take positions from the answers to a subscription with "
                    + "these filters.");
            }

            // A topic of a higher number here is another one, and begins at its beginning.
            var known = cursors.GetValueOrDefault(name, TopicCursor.Beginning);
            if (known.Number <= position.Topic.Number)
            {
                cursors[name] = new TopicCursor((int)position.Topic.Number, position.NextOffset);
                watch.Mark(name);
            }
            else
            {
                cursors[name] = new TopicCursor(known.Number, 0);
                watch.Mark(name);
            }
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
        foreach (var shard in shards)
        {
            foreach (var topic in shard.ListTopics())
            {
                if (watch.Wants(topic.Name))
                {
                    watch.Mark(topic.Name);
                }
            }
        }
    }
}

/// <summary>How far a subscription is in one topic.</summary>
/// <param name="Number">
/// The topic's number in its shard: one of a higher number has taken its name. -1: none was seen yet.
/// </param>
/// <param name="Offset">The first offset that was not given out.</param>
public readonly record struct TopicCursor(int Number, long Offset)
{
    /// <summary>Of a topic that came after the subscription.</summary>
    public static readonly TopicCursor Beginning = new(-1, 0);
}

/// <summary>One item of a subscription.</summary>
/// <param name="Topic">The topic's name. Empty: the subscription has begun.</param>
/// <param name="Page">Its records; null when it has begun.</param>
/// <param name="ResumeToken">With which another one goes on after this one's beginning; only in the first item.</param>
public readonly record struct SubscribedPage(string Topic, ReadPage? Page, ReadOnlyMemory<byte> ResumeToken);
