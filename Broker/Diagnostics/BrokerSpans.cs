using System.Diagnostics;
using Broker.Client.Tracing;
using Broker.Domain;

namespace Broker.Diagnostics;

/// <summary>A publish whose trace is recorded: its topic, and where its trace goes on.</summary>
public readonly record struct TracedPublish(string Topic, ActivityContext Context);

/// <summary>
/// A node's spans, source "Broker.Node". A node begins no trace: its spans belong to the traces that records bring
/// along in their headers, and without a listener nothing looks for those.
/// </summary>
public static class BrokerSpans
{
    private static readonly ActivitySource Source = new("Broker.Node");

    /// <summary>Whether anybody listens; a read of memory.</summary>
    public static bool IsOn => Source.HasListeners();

    /// <summary>A step of an entry through this replica.</summary>
    public static void Record(
        string operation,
        in TracedPublish publish,
        DateTimeOffset startedAt,
        DateTimeOffset endedAt,
        GroupId group,
        LogIndex index,
        bool isLeader)
    {
        using var span = MessageSpan.Start(
            Source, operation, publish.Topic, ActivityKind.Internal, publish.Context, startedAt: startedAt);
        span?.SetTag("broker.shard", group.Value);
        span?.SetTag("broker.index", index.Value);
        span?.SetTag("broker.role", isLeader ? "leader" : "follower");
        span?.SetEndTime(endedAt.UtcDateTime);
    }

    /// <summary>
    /// A batch goes to a consumer: on Redis or to a reader. Null when none of its first records is traced. The other
    /// traces among them are linked.
    /// </summary>
    public static Activity? StartHandOver(
        string operation, string topic, ReadOnlySpan<byte> batch, long baseOffset, int count)
    {
        if (!IsOn)
        {
            return null;
        }

        var room = new TraceContexts();
        Span<ActivityContext> contexts = room;
        var recordsLeft = Limits.RecordsLookedAtForTraces;
        var found = TraceHeader.Find(batch, ref recordsLeft, contexts);
        if (found == 0)
        {
            return null;
        }

        var span = MessageSpan.Start(
            Source, operation, topic, ActivityKind.Internal, contexts[0], count, MessageSpan.Links(contexts[1..found]));
        span?.SetTag("broker.offset", baseOffset);
        return span;
    }
}
