using Microsoft.AspNetCore.Http.HttpResults;
using Subscriber.Following;
using Subscriber.Inbox;

namespace Subscriber.Api;

/// <summary>
/// GET /messages?topic=orders.>&amp;after=0&amp;limit=100 · GET /stream (server-sent events) · GET, PUT and DELETE
/// /subjects · GET /stats.
/// </summary>
internal static class SubscriberEndpoints
{
    private const int DefaultLimit = 100;

    public static void MapSubscriber(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/messages", GetMessagesAsync);
        endpoints.MapGet("/stream", EventStream.RunAsync);
        endpoints.MapGet("/subjects", (SubjectList subjects) => TypedResults.Ok(subjects.Filters));
        endpoints.MapPut("/subjects/{filter}", (
            string filter, SubjectList subjects, CancellationToken cancellationToken) =>
            AnswerAsync(() => subjects.AddAsync(filter, cancellationToken)));
        endpoints.MapDelete("/subjects/{filter}", (
            string filter, SubjectList subjects, CancellationToken cancellationToken) =>
            AnswerAsync(() => subjects.RemoveAsync(filter, cancellationToken)));
        endpoints.MapGet("/stats", GetStats);
    }

    private static async Task<IResult> GetMessagesAsync(
        InboxReader inbox,
        CancellationToken cancellationToken,
        string? topic = null,
        long after = 0,
        int limit = DefaultLimit)
    {
        if (limit is < 1 or > SubscriberLimits.MessagesPerGet)
        {
            return SubscriberStatus.ToHttp(new SubscriberException(
                SubscriberFailure.Invalid, $"limit is {limit}; expected 1 to {SubscriberLimits.MessagesPerGet}."));
        }

        try
        {
            var messages = new List<MessageJson>();
            await foreach (var message in inbox.ReadAsync(topic, after, follow: false, limit, cancellationToken))
            {
                messages.Add(MessageJson.Of(message));
            }

            return TypedResults.Ok(messages);
        }
        catch (SubscriberException e)
        {
            return SubscriberStatus.ToHttp(e);
        }
    }

    private static async Task<IResult> AnswerAsync(Func<Task> action)
    {
        try
        {
            await action();
            return TypedResults.NoContent();
        }
        catch (SubscriberException e)
        {
            return SubscriberStatus.ToHttp(e);
        }
    }

    private static Ok<Stats> GetStats(
        SubscriberMetrics metrics, TopicTable topics, SubjectList subjects, LiveHealth live) =>
        TypedResults.Ok(new Stats(
            metrics.Live + metrics.Log,
            metrics.Live,
            metrics.Log,
            metrics.Duplicates,
            metrics.Gaps,
            topics.Count,
            live.IsHealthy,
            subjects.Filters));

    /// <summary>Counts since the process started. Delivered is live plus log.</summary>
    internal sealed record Stats(
        long Delivered,
        long Live,
        long Log,
        long Duplicates,
        long Gaps,
        int Topics,
        bool LiveFeed,
        IReadOnlyList<string> Subjects);
}
