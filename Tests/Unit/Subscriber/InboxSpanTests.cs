using System.Diagnostics;
using Broker.Client.Tracing;
using Broker.Tests.Unit.ServiceDefaults;
using Subscriber.Following;
using Subscriber.Inbox;
using Xunit;

namespace Broker.Tests.Unit.SubscriberService;

[Collection(nameof(TelemetryAlone))]
public sealed class InboxSpanTests
{
    [Fact]
    public void Each_traced_message_has_a_span_in_its_trace_and_the_others_none()
    {
        var (first, second) = (NewContext(), NewContext());
        var items = Items(null, first, null, second);
        using var spans = new SpanList("Broker.Subscriber");

        using (InboxSpans.Start(items))
        {
            Assert.Equal(second.TraceId, Activity.Current!.TraceId);
        }

        Assert.Null(Activity.Current);
        var span = Assert.Single(spans.Of(first.TraceId));
        Assert.Equal(("process orders", ActivityKind.Consumer), (span.OperationName, span.Kind));
        Assert.Equal(first.SpanId, span.ParentSpanId);
        Assert.Equal((101L, "live"), (span.GetTagItem("broker.offset"), span.GetTagItem("broker.source")));
        Assert.Single(spans.Of(second.TraceId));
    }

    [Fact]
    public void Of_many_traced_messages_a_few_have_spans()
    {
        var contexts = Enumerable.Range(0, 100).Select(_ => (ActivityContext?)NewContext()).ToArray();
        using var spans = new SpanList("Broker.Subscriber");

        InboxSpans.Start(Items(contexts)).Dispose();

        Assert.Equal(
            TraceContexts.Length, contexts.Count(context => spans.Of(context!.Value.TraceId).Count == 1));
    }

    [Fact]
    public void Without_a_listener_tracing_allocates_nothing()
    {
        var items = Items(NewContext());
        InboxSpans.Start(items).Dispose();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            InboxSpans.Start(items).Dispose();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static ActivityContext NewContext() =>
        new(ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded);

    private static List<InboxQueue.Item> Items(params ActivityContext?[] contexts)
    {
        var records = contexts.Select(context => new InboxRecord(
            0, default, default, context is { } own ? TraceHeader.Add(ReadOnlyMemory<byte>.Empty, own) : default));
        var run = new MessageRun(100, records.ToArray(), MessageSource.Live);
        return [new InboxQueue.Item(new InboxAppend(new TopicProgress(new TopicPlace("orders"), 100), 100, run), null)];
    }
}
