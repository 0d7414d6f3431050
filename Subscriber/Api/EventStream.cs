using System.Globalization;
using System.Text;
using System.Text.Json;
using Broker.ServiceDefaults.Http;
using Subscriber.Inbox;

namespace Subscriber.Api;

/// <summary>
/// GET /stream?topic=orders.>&amp;after=0: server-sent events that never end. An event's id is its inbox id, so a
/// browser that lost the connection goes on where it was (Last-Event-ID). Example: id: 7, data:
/// {"id":7,"topic":"orders","offset":3,...}. A stream that has to end says why in a last event of the name "problem".
/// </summary>
internal static class EventStream
{
    private const string LastEventId = "Last-Event-ID";

    // Proxies close connections on which nothing happens; a comment is no event.
    private static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(15);

    public static async Task<IResult> RunAsync(
        HttpContext context, InboxReader inbox, TimeProvider time, IHostApplicationLifetime lifetime)
    {
        var query = RequestTarget.Query(context.Request, "topic", "after");
        var after = ReadLastEventId(context.Request) ?? query.Number("after", 0, 0, long.MaxValue);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            context.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            using var cursor = await inbox.OpenAsync(query.Text("topic"), after, follow: true, ending.Token);
            await using var messages = cursor.ReadAsync(limit: 0, ending.Token).GetAsyncEnumerator(ending.Token);
            await WriteAsync(context, messages, ending, time);
        }
        catch (SubscriberException e) when (!context.Response.HasStarted)
        {
            return SubscriberStatus.ToHttp(e, context.Response);
        }
        catch (SubscriberException e)
        {
            await EndAsync(context, e.Message);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            return TypedResults.Empty;  // The client has left, which is how every stream ends.
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            Start(context.Response);
            await EndAsync(context, "The subscriber stops. Come again with the last id that you have.");
        }

        return TypedResults.Empty;
    }

    // It goes before the query: a browser that comes again sends the address that it was first given.
    private static long? ReadLastEventId(HttpRequest request)
    {
        var header = request.Headers[LastEventId];
        if (header.Count == 0)
        {
            return null;
        }

        return header.Count == 1
            && long.TryParse(header[0], NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            ? id
            : throw new BadHttpRequestException(
                $"The header {LastEventId} is '{header}'; expected the id of an event of this stream, a whole number.");
    }

    private static async Task WriteAsync(
        HttpContext context, IAsyncEnumerator<InboxMessage> messages, CancellationTokenSource ending, TimeProvider time)
    {
        var next = messages.MoveNextAsync().AsTask();
        try
        {
            while (true)
            {
                if (!next.IsCompleted && await HasToWaitAsync(next, context, time))
                {
                    await context.Response.WriteAsync(":\n\n", context.RequestAborted);
                    continue;
                }

                if (!await next)
                {
                    return;
                }

                Start(context.Response);
                await WriteEventAsync(context.Response, messages.Current, context.RequestAborted);
                next = messages.MoveNextAsync().AsTask();
            }
        }
        finally
        {
            // An enumerator must not be disposed while it moves.
            await ending.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // JSON has no line breaks here, so that one message is one line of data. An event is written whole, also while the
    // subscriber stops: what comes after half of one would be taken for the rest of it.
    private static async Task WriteEventAsync(
        HttpResponse response, InboxMessage message, CancellationToken cancellationToken)
    {
        var writer = response.BodyWriter;
        var begin = string.Create(CultureInfo.InvariantCulture, $"id: {message.InboxId}\ndata: ");
        await writer.WriteAsync(Encoding.ASCII.GetBytes(begin), cancellationToken);
        await JsonSerializer.SerializeAsync(
            writer, MessageJson.Of(message), JsonSerializerOptions.Web, cancellationToken);
        await writer.WriteAsync("\n\n"u8.ToArray(), cancellationToken);
    }

    private static Task EndAsync(HttpContext context, string why) => context.Response.WriteAsync(
        $"event: problem\ndata: {JsonSerializer.Serialize(new { detail = why }, JsonSerializerOptions.Web)}\n\n",
        context.RequestAborted);

    // What was written goes out before the wait. True: the wait took as long as a proxy bears.
    private static async Task<bool> HasToWaitAsync(Task<bool> next, HttpContext context, TimeProvider time)
    {
        Start(context.Response);
        await context.Response.Body.FlushAsync(context.RequestAborted);
        using var given = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var finished = await Task.WhenAny(next, Task.Delay(KeepAlive, time, given.Token));
        await given.CancelAsync();
        return finished != next && !next.IsCompleted;
    }

    private static void Start(HttpResponse response)
    {
        if (!response.HasStarted)
        {
            response.ContentType = "text/event-stream";
            response.Headers.CacheControl = "no-cache";
        }
    }
}
