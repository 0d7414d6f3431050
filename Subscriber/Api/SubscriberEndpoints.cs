using System.Text.Json;
using Broker.ServiceDefaults.Http;
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

    private static readonly byte[] Comma = [(byte)','];

    public static void MapSubscriber(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/messages", GetMessagesAsync);
        endpoints.MapGet("/stream", EventStream.RunAsync);
        endpoints.MapGet("/subjects", (HttpRequest request, SubjectList subjects) =>
        {
            RequestTarget.Query(request);
            return TypedResults.Ok(subjects.Filters);
        });
        endpoints.MapPut("/subjects/{filter}", (HttpContext context, SubjectList subjects) =>
            AnswerAsync(context, filter => subjects.AddAsync(filter, context.RequestAborted)));
        endpoints.MapDelete("/subjects/{filter}", (HttpContext context, SubjectList subjects) =>
            AnswerAsync(context, filter => subjects.RemoveAsync(filter, context.RequestAborted)));
        endpoints.RefuseOtherMethods("/subjects/{filter}", "PUT, DELETE");
        endpoints.MapGet("/stats", GetStats);
    }

    // Written as it is read: however many messages are asked for, few are in memory.
    private static async Task<IResult> GetMessagesAsync(
        HttpContext context, InboxReader inbox, IHostApplicationLifetime lifetime)
    {
        var query = RequestTarget.Query(context.Request, "topic", "after", "limit");
        var (filter, after) = (query.Text("topic"), query.Number("after", 0, 0, long.MaxValue));
        var limit = query.Number("limit", DefaultLimit, 1, SubscriberLimits.MessagesPerGet);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            context.RequestAborted, lifetime.ApplicationStopping);
        var messages = inbox.ReadAsync(filter, after, follow: false, limit, ending.Token);
        try
        {
            await WriteArrayAsync(context.Response, messages, ending.Token);
        }
        catch (SubscriberException e) when (!context.Response.HasStarted)
        {
            return SubscriberStatus.ToHttp(e, context.Response);
        }
        catch (OperationCanceledException e) when (!context.Response.HasStarted)
        {
            return SubscriberStatus.ToHttp(
                new SubscriberException(SubscriberFailure.Unavailable, "The subscriber stops. Ask again later.", e),
                context.Response);
        }
        catch (Exception e) when (e is SubscriberException or OperationCanceledException)
        {
            context.Abort();  // Half an answer must not look like a whole one.
        }

        return TypedResults.Empty;
    }

    private static async Task WriteArrayAsync(
        HttpResponse response, IAsyncEnumerable<InboxMessage> messages, CancellationToken cancellationToken)
    {
        var writer = response.BodyWriter;
        var separator = "["u8.ToArray();
        await foreach (var message in messages)
        {
            Start(response);
            await writer.WriteAsync(separator, cancellationToken);
            await JsonSerializer.SerializeAsync(
                writer, MessageJson.Of(message), JsonSerializerOptions.Web, cancellationToken);
            separator = Comma;
        }

        Start(response);
        await writer.WriteAsync(separator == Comma ? "]"u8.ToArray() : "[]"u8.ToArray(), cancellationToken);
    }

    // Not before there is something to write: a refusal has another type.
    private static void Start(HttpResponse response)
    {
        if (!response.HasStarted)
        {
            response.ContentType = "application/json; charset=utf-8";
        }
    }

    private static async Task<IResult> AnswerAsync(HttpContext context, Func<string, Task> action)
    {
        RequestTarget.Query(context.Request);
        try
        {
            await action(RequestTarget.LastSegment(context.Request, segments: 2));
            return TypedResults.NoContent();
        }
        catch (SubscriberException e)
        {
            return SubscriberStatus.ToHttp(e, context.Response);
        }
    }

    private static Ok<Stats> GetStats(
        HttpRequest request, SubscriberMetrics metrics, TopicTable topics, SubjectList subjects, LiveHealth live)
    {
        RequestTarget.Query(request);
        return TypedResults.Ok(new Stats(
            metrics.Live + metrics.Log,
            metrics.Live,
            metrics.Log,
            metrics.Duplicates,
            metrics.Gaps,
            topics.Count,
            live.IsHealthy,
            subjects.Filters));
    }

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
