using System.Diagnostics;
using Broker.Client.Tracing;

namespace Subscriber.Inbox;

/// <summary>
/// The subscriber's spans, source "Broker.Subscriber": process, from taking a message to having it in the inbox. They
/// belong to the traces that the messages bring along in their headers.
/// </summary>
internal static class InboxSpans
{
    private static readonly ActivitySource Source = new("Broker.Subscriber");

    /// <summary>
    /// Starts the spans of what is stored together, of the first traced messages one each. The commands to Postgres
    /// belong to the one that was started last, which comes last.
    /// </summary>
    public static Spans Start(List<InboxQueue.Item> items)
    {
        if (!Source.HasListeners())
        {
            return default;
        }

        List<Activity>? spans = null;
        var recordsLeft = SubscriberLimits.RecordsLookedAtForTraces;
        foreach (var (append, _) in items)
        {
            var run = append.Run;
            for (var i = 0; i < run.Count && recordsLeft > 0; i++, recordsLeft--)
            {
                if (TraceHeader.TryRead(run[i].Headers.Span, out var context)
                    && (spans?.Count ?? 0) < TraceContexts.Length
                    && MessageSpan.Start(
                        Source, "process", append.Topic.Place.Topic, ActivityKind.Consumer, context) is { } span)
                {
                    span.SetTag("broker.offset", run.BaseOffset + i);
                    span.SetTag("broker.source", run.Source == MessageSource.Live ? "live" : "log");
                    (spans ??= []).Add(span);
                }
            }
        }

        return new Spans(spans);
    }

    /// <summary>Ends the spans, the last one first.</summary>
    internal readonly struct Spans(List<Activity>? spans) : IDisposable
    {
        public void Dispose()
        {
            for (var i = (spans?.Count ?? 0) - 1; i >= 0; i--)
            {
                spans![i].Dispose();
            }
        }
    }
}
