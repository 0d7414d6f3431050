using System.Diagnostics;
using Broker.Client.Tracing;
using Publisher.Sending;

namespace Publisher.Outbox;

/// <summary>
/// The publisher's spans, source "Broker.Publisher": publish (from the request to its answer), outbox (the insert),
/// relay (from the outbox to the brokers, the first time and after any crash). The context of the first is put into the
/// record's headers, and stored with it: the trace goes on from there.
/// </summary>
internal static class OutboxSpans
{
    private static readonly ActivitySource Source = new("Broker.Publisher");

    /// <summary>
    /// A request's messages are submitted. When a span comes of it, the messages are replaced by ones that bring its
    /// context along, except for those that have a context of their own.
    /// </summary>
    public static Activity? StartPublish(ref IReadOnlyList<OutboxMessage> messages)
    {
        if (!Source.HasListeners() || messages.Count == 0)
        {
            return null;
        }

        var first = messages[0];
        TraceHeader.TryRead(first.Record.Headers.Span, out var parent);
        if (parent == default && Activity.Current is null)
        {
            return null; // A message that comes on a long stream, without a trace.
        }

        var span = MessageSpan.Start(Source, "publish", first.Topic, ActivityKind.Producer, parent, messages.Count);
        if (span is { Recorded: true })
        {
            var context = span.Context;
            messages = [.. messages.Select(message => Trace(message, context))];
        }

        return span;
    }

    /// <summary>Ends the span of a publish with its answer.</summary>
    public static void EndWith(this Activity span, Task<PublishAnswer[]> answer) => _ = answer.ContinueWith(
        done =>
        {
            if (done.Exception?.InnerException is { } failure)
            {
                span.Fail((failure as PublishException)?.Failure.ToString() ?? failure.GetType().Name);
            }

            span.Dispose();
        },
        CancellationToken.None,
        TaskContinuationOptions.ExecuteSynchronously,
        TaskScheduler.Default);

    /// <summary>The insert of what waits, for the first of the traced requests; the others are linked.</summary>
    public static Activity? StartInsert(List<PublishTicket> tickets)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        var room = new TraceContexts();
        Span<ActivityContext> contexts = room;
        var found = 0;
        PublishTicket? first = null;
        foreach (var ticket in tickets)
        {
            if (ticket.Span is { Recorded: true } span && found < contexts.Length)
            {
                first ??= ticket;
                contexts[found++] = span.Context;
            }
        }

        return first is null ? null : Start("outbox", first.Messages[0].Topic, contexts[..found], tickets.Count);
    }

    /// <summary>A chunk goes to the brokers, for the first of its traced records; the others are linked.</summary>
    public static Activity? StartRelay(Chunk chunk)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        var room = new TraceContexts();
        Span<ActivityContext> contexts = room;
        var recordsLeft = PublisherLimits.ChunkRows;
        var found = TraceHeader.Find(chunk.Batch, ref recordsLeft, contexts);
        return found == 0 ? null : Start("relay", chunk.Topic, contexts[..found], chunk.Count);
    }

    private static Activity? Start(string operation, string topic, ReadOnlySpan<ActivityContext> contexts, int count) =>
        MessageSpan.Start(
            Source, operation, topic, ActivityKind.Internal, contexts[0], count, MessageSpan.Links(contexts[1..]));

    private static OutboxMessage Trace(OutboxMessage message, ActivityContext context) => message with
    {
        Record = message.Record with { Headers = TraceHeader.Add(message.Record.Headers, context) },
    };
}
