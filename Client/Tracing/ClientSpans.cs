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
}
