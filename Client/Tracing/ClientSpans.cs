using System.Diagnostics;

namespace Broker.Client.Tracing;

/// <summary>The client library's spans, source "Broker.Client".</summary>
internal static class ClientSpans
{
    private static readonly ActivitySource Source = new("Broker.Client");

    /// <summary>Whether a publish may have to do with a trace; two reads of memory when not.</summary>
    public static bool IsWanted => Source.HasListeners() || Activity.Current is { Recorded: true };

    public static Activity? StartPublish(string topic, ActivityKind kind, int count = 1) =>
        Source.HasListeners() ? MessageSpan.Start(Source, "publish", topic, kind, count: count) : null;

    /// <summary>Of a handler: it belongs to the trace of the message's publish, as far as that is recorded.</summary>
    public static Activity? StartProcess(BrokerRecord record, string group)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        TraceHeader.TryRead(record, out var parent);
        var span = MessageSpan.Start(Source, "process", record.Topic, ActivityKind.Consumer, parent);
        span?.SetTag("messaging.consumer.group.name", group);
        return span;
    }
}
