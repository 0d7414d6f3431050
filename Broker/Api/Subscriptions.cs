using Broker.Client;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;
using TopicPosition = Broker.Delivery.TopicPosition;

namespace Broker.Api;

/// <summary>From the contract's SubscribeRequest to what Delivery takes.</summary>
internal static class Subscriptions
{
    /// <exception cref="BrokerException">InvalidArgument: what is wrong with the request.</exception>
    public static (IReadOnlyList<TopicFilter> Filters, SubscriptionStart Start) Read(SubscribeRequest request)
    {
        if (request.Filters.Count is 0 or > Limits.FiltersPerSubscription)
        {
            throw Refusal.InvalidArgument(
                $"A subscription has 1 to {Limits.FiltersPerSubscription} filters, not {request.Filters.Count:N0}; "
                + "'>' matches every topic.");
        }

        if (request.Positions.Count > Limits.PositionsPerSubscription)
        {
            throw Refusal.InvalidArgument(
                $"A subscription goes on at {Limits.PositionsPerSubscription:N0} positions at most, not "
                + $"{request.Positions.Count:N0}; leave out those that were seen longest ago, and give resume_token.");
        }

        var filters = request.Filters.Select(ParseFilter).ToList();
        return (filters, new SubscriptionStart
        {
            FromBeginning = IsFromBeginning(request),
            TimeUnixMs = TimeOf(request),
            ShardTimes = ReadToken(request),
            Positions = ReadPositions(request),
        });
    }

    private static bool IsFromBeginning(SubscribeRequest request) => request.Position switch
    {
        StartPosition.Beginning => true,
        StartPosition.Unspecified or StartPosition.End => false,
        StartPosition.LastPerKey => throw Refusal.InvalidArgument(
            "A subscription begins at BEGINNING, at END or at a time; LAST_PER_KEY is for the read of one topic."),
        _ => throw Refusal.InvalidArgument($"Start position {(int)request.Position} does not exist."),
    };

    private static long? TimeOf(SubscribeRequest request)
    {
        if (request.StartCase != SubscribeRequest.StartOneofCase.TimeUnixMs)
        {
            return null;
        }

        return request.TimeUnixMs >= 0
            ? request.TimeUnixMs
            : throw Refusal.InvalidArgument(
                $"time_unix_ms is {request.TimeUnixMs}; a time is in milliseconds since 1970 and not negative.");
    }

    private static IReadOnlyDictionary<GroupId, long>? ReadToken(SubscribeRequest request)
    {
        if (request.ResumeToken.IsEmpty)
        {
            return null;
        }

        return ResumeToken.TryDecode(request.ResumeToken.Span, out var shards)
            ? shards
            : throw Refusal.InvalidArgument(
                "resume_token is none that a broker has given; take it as it is from a subscription's first answer.");
    }

    private static List<TopicPosition> ReadPositions(SubscribeRequest request)
    {
        var positions = new List<TopicPosition>(request.Positions.Count);
        foreach (var position in request.Positions)
        {
            if (!TopicName.Validate(position.Topic, out var reason))
            {
                throw Refusal.InvalidArgument(reason);
            }

            if (position.NextOffset < 0 || position.TopicId == 0)
            {
                throw Refusal.InvalidArgument(
                    $"The position in topic '{position.Topic}' needs the topic_id and the next_offset that an answer "
                    + "has told.");
            }

            if (position.Partition >= Limits.PartitionsPerTopic)
            {
                throw Refusal.InvalidArgument(
                    $"The position in topic '{position.Topic}' names partition {position.Partition}; a topic has at "
                    + $"most {Limits.PartitionsPerTopic:N0}.");
            }

            var id = new TopicId(position.TopicId);
            positions.Add(new TopicPosition(position.Topic, (int)position.Partition, id, position.NextOffset));
        }

        return positions;
    }

    private static TopicFilter ParseFilter(string text) => TopicFilter.TryParse(text, out var filter, out var reason)
        ? filter
        : throw Refusal.InvalidArgument(reason);
}
