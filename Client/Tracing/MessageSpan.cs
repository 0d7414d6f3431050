using System.Diagnostics;

namespace Broker.Client.Tracing;

/// <summary>
/// Spans of the way of a message, as OpenTelemetry's conventions for messaging name them: "{operation} {topic}". Who
/// starts one asks first whether anybody listens, so that tracing costs nothing when nobody does.
/// </summary>
internal static class MessageSpan
{
    /// <summary>The operations that the conventions know a type of; the others are steps between them.</summary>
    private static readonly Dictionary<string, string> Types = new(StringComparer.Ordinal)
    {
        ["publish"] = "send",
        ["read"] = "receive",
        ["process"] = "process",
    };

    /// <summary>Starts a span; null when it is not wanted.</summary>
    /// <param name="source">Whose span it is.</param>
    /// <param name="operation">One word.</param>
    /// <param name="topic">The topic, or the first of several.</param>
    /// <param name="kind">Producer for what makes messages, Consumer for what takes them in, else Internal.</param>
    /// <param name="parent">What it follows from; without one, the activity of this moment.</param>
    /// <param name="count">The number of messages, when it is more than one.</param>
    /// <param name="links">Other messages' contexts.</param>
    /// <param name="startedAt">When it began; default: now.</param>
    public static Activity? Start(
        ActivitySource source,
        string operation,
        string topic,
        ActivityKind kind,
        ActivityContext parent = default,
        int count = 1,
        IEnumerable<ActivityLink>? links = null,
        DateTimeOffset startedAt = default)
    {
        var span = source.StartActivity($"{operation} {topic}", kind, parent, tags: null, links, startedAt);
        if (span is not { IsAllDataRequested: true })
        {
            return span;
        }

        span.SetTag("messaging.system", "broker");
        span.SetTag("messaging.operation.name", operation);
        span.SetTag("messaging.destination.name", topic);
        if (Types.TryGetValue(operation, out var type))
        {
            span.SetTag("messaging.operation.type", type);
        }

        if (count > 1)
        {
            span.SetTag("messaging.batch.message_count", count);
        }

        return span;
    }

    /// <summary>Links to other messages' contexts; null for none.</summary>
    public static IEnumerable<ActivityLink>? Links(ReadOnlySpan<ActivityContext> contexts) =>
        contexts.IsEmpty ? null : Array.ConvertAll(contexts.ToArray(), context => new ActivityLink(context));

    /// <summary>Says that the operation failed, and how: a short name from a small set.</summary>
    public static void Fail(this Activity? span, string errorType)
    {
        span?.SetTag("error.type", errorType);
        span?.SetStatus(ActivityStatusCode.Error);
    }

    /// <summary>
    /// Leaves the trace that goes on here, until the returned value is disposed of: for what outlives the call that
    /// happens to begin it, such as a stream that many share.
    /// </summary>
    public static Pause LeaveTrace() => new(Activity.Current);

    /// <summary>Puts back the activity that was current.</summary>
    internal readonly struct Pause : IDisposable
    {
        private readonly Activity? _left;

        public Pause(Activity? left)
        {
            _left = left;
            if (left is not null)
            {
                Activity.Current = null;
            }
        }

        public void Dispose()
        {
            if (_left is not null)
            {
                Activity.Current = _left;
            }
        }
    }
}
