using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Broker.Client.Handling;

/// <summary>What handlers do, in the meter of the client library.</summary>
internal static class HandlerMetrics
{
    private static readonly Meter Meter = new("Broker.Client");

    private static readonly Histogram<double> Duration = Meter.CreateHistogram(
        "messaging.process.duration",
        "s",
        "From the hand-over of a message to a handler to the handler's end, without settling.",
        tags: null,
        ClientMetrics.Seconds);

    /// <summary>A handler has ended.</summary>
    /// <param name="group">Its consumer group.</param>
    /// <param name="duration">How long it worked.</param>
    /// <param name="failure">What it threw; null: nothing.</param>
    public static void Processed(string group, TimeSpan duration, Exception? failure)
    {
        if (!Duration.Enabled)
        {
            return;
        }

        var tags = new TagList
        {
            ClientMetrics.System,
            new("messaging.operation.name", "process"),
            new("messaging.consumer.group.name", group),
        };
        if (failure is not null)
        {
            tags.Add("error.type", failure.GetType().Name);
        }

        Duration.Record(duration.TotalSeconds, tags);
    }
}
