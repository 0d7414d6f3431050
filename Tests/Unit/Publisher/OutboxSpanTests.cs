using System.Diagnostics;
using Broker.Client.Tracing;
using Broker.Tests.Unit.ServiceDefaults;
using Publisher;
using Publisher.Outbox;
using Publisher.Sending;
using Xunit;

namespace Broker.Tests.Unit.PublisherService;

[Collection(nameof(TelemetryAlone))]
public sealed class OutboxSpanTests
{
    private readonly SequenceBook _book = new();

    [Fact]
    public void A_request_has_a_span_that_its_records_bring_along_to_insert_and_relay()
    {
        using var spans = new SpanList("Broker.Publisher");
        using var request = new Activity("request").Start();
        var (ticket, chunk) = Publish("orders", "bills");

        OutboxSpans.StartInsert([ticket])!.Dispose();
        OutboxSpans.StartRelay(chunk)!.Dispose();
        ticket.Span!.Dispose();

        var found = spans.Of(request.TraceId);
        Assert.Equal(["outbox orders", "relay orders", "publish orders"], found.Select(span => span.OperationName));
        Assert.Equal(request.SpanId, ticket.Span.ParentSpanId);
        Assert.All(found[..2], span => Assert.Equal(ticket.Span.SpanId, span.ParentSpanId));
        Assert.Equal(ActivityKind.Producer, ticket.Span.Kind);
    }

    [Fact]
    public void Others_that_are_stored_together_are_linked()
    {
        using var spans = new SpanList("Broker.Publisher");
        using var request = new Activity("request").Start();
        var tickets = Enumerable.Range(0, 20).Select(_ => Publish("orders").Ticket).ToList();

        using var insert = OutboxSpans.StartInsert(tickets)!;

        Assert.Equal(tickets[0].Span!.SpanId, insert.ParentSpanId);
        Assert.Equal(
            tickets[1..TraceContexts.Length].Select(ticket => ticket.Span!.SpanId),
            insert.Links.Select(link => link.Context.SpanId));
    }

    [Fact]
    public void A_message_goes_on_with_the_trace_that_it_brings()
    {
        using var spans = new SpanList("Broker.Publisher");
        var own = new ActivityContext(
            ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded);
        IReadOnlyList<OutboxMessage> messages = [Message("orders", TraceHeader.Add(ReadOnlyMemory<byte>.Empty, own))];
        var before = messages[0].Record.Headers;

        using var span = OutboxSpans.StartPublish(ref messages)!;

        Assert.Equal((own.TraceId, own.SpanId), (span.TraceId, span.ParentSpanId));
        Assert.Equal(before.ToArray(), messages[0].Record.Headers.ToArray());
    }

    [Fact]
    public async Task A_publish_that_fails_says_so_in_its_span()
    {
        using var spans = new SpanList("Broker.Publisher");
        using var request = new Activity("request").Start();
        var (ticket, _) = Publish("orders");
        ticket.Span!.EndWith(ticket.Completion);

        ticket.Fail(new PublishException(PublishFailure.Unavailable, "Postgres is away."));
        while (spans.Of(request.TraceId).Count == 0)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }

        Assert.Equal("Unavailable", Assert.Single(spans.Of(request.TraceId)).GetTagItem("error.type"));
    }

    [Fact]
    public void Without_a_listener_records_stay_as_they_are_and_tracing_allocates_nothing()
    {
        using var request = new Activity("request").Start();
        var (ticket, chunk) = Publish("orders");
        IReadOnlyList<OutboxMessage> messages = [Message("orders", default)];
        List<PublishTicket> tickets = [ticket];
        OutboxSpans.StartInsert(tickets);
        OutboxSpans.StartRelay(chunk);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            OutboxSpans.StartPublish(ref messages);
            OutboxSpans.StartInsert(tickets);
            OutboxSpans.StartRelay(chunk);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Null(ticket.Span);
        Assert.True(messages[0].Record.Headers.IsEmpty);
    }

    private static OutboxMessage Message(string topic, ReadOnlyMemory<byte> headers) =>
        new(topic, new RecordBytes(default, "a"u8.ToArray(), headers));

    /// <summary>One request, and the chunk of its first topic.</summary>
    private (PublishTicket Ticket, Chunk Chunk) Publish(params string[] topics)
    {
        IReadOnlyList<OutboxMessage> messages = [.. topics.Select(topic => Message(topic, default))];
        var span = OutboxSpans.StartPublish(ref messages);
        var ticket = new PublishTicket(messages, waitForCommit: true) { Span = span };
        var plan = InsertPlan.Make([ticket], _book, PublisherLimits.ChunkRows, PublisherLimits.ChunkBytes);
        return (ticket, plan.Stored([.. Enumerable.Range(1, topics.Length).Select(id => (long)id)])[0]);
    }
}
