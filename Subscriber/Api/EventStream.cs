using System.Globalization;
using System.Text.Json;
using Subscriber.Inbox;

namespace Subscriber.Api;

/// <summary>
/// GET /stream?topic=orders.>&amp;after=0: server-sent events that never end. An event's id is its inbox id, so a
/// browser that lost the connection goes on where it was (Last-Event-ID). Example: id: 7, data:
/// {"id":7,"topic":"orders","offset":3,...}
/// </summary>
internal static class EventStream
{
    // Proxies close connections on which nothing happens; a comment is no event.
    private static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(15);

    public static async Task<IResult> RunAsync(
        HttpContext context, InboxReader inbox, TimeProvider time, string? topic = null, long after = 0)
    {
        if (long.TryParse(
            context.Request.Headers["Last-Event-ID"], NumberStyles.None, CultureInfo.InvariantCulture, out var lastId))
        {
            after = lastId;
        }

        using var ending = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        await using var messages = inbox
            .ReadAsync(topic, after, follow: true, limit: 0, ending.Token)
            .GetAsyncEnumerator(ending.Token);
        try
        {
            await WriteAsync(context, messages, ending, time);
        }
        catch (SubscriberException e) when (!context.Response.HasStarted)
        {
            return SubscriberStatus.ToHttp(e);
        }
        catch (SubscriberException)
        {
            context.Abort();  // The client comes again, and says which id it has.
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            return TypedResults.Empty;  // The client has left, which is how every stream ends.
        }

        return TypedResults.Empty;
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
                    await context.Response.WriteAsync(":\n\n", ending.Token);
                    continue;
                }

                if (!await next)
                {
                    return;
                }

                Start(context.Response);
                var json = JsonSerializer.Serialize(MessageJson.Of(messages.Current), JsonSerializerOptions.Web);
                var id = messages.Current.InboxId.ToString(CultureInfo.InvariantCulture);
                await context.Response.WriteAsync($"id: {id}\ndata: {json}\n\n", ending.Token);
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
