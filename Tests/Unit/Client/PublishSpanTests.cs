using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Unit.ServiceDefaults;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

[Collection(nameof(TelemetryAlone))]
public sealed class PublishSpanTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_publish_has_a_span_and_its_record_goes_on_with_it()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        using var spans = new SpanList("Broker.Client");
        using var caller = new Activity("caller").Start();

        await client.PublishAsync("orders", Message("a"), Test);

        var span = Assert.Single(spans.Of(caller.TraceId));
        Assert.Equal(("publish orders", ActivityKind.Producer), (span.OperationName, span.Kind));
        Assert.Equal(caller.SpanId, span.ParentSpanId);
        Assert.Equal("orders", span.GetTagItem("messaging.destination.name"));
        Assert.Equal("send", span.GetTagItem("messaging.operation.type"));
        Assert.Equal(0L, span.GetTagItem("broker.offset"));
        var header = Assert.Single(cluster.Topic("orders")!.Records[0].Headers);
        Assert.Equal(
            ("traceparent", $"00-{span.TraceId}-{span.SpanId}-01"), (header.Name, header.Value.ToStringUtf8()));
    }

    [Fact]
    public async Task A_refused_publish_says_so_in_its_span()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        using var spans = new SpanList("Broker.Client");
        using var caller = new Activity("caller").Start();

        await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("not a topic", Message("a"), Test));

        var span = Assert.Single(spans.Of(caller.TraceId));
        Assert.Equal((ActivityStatusCode.Error, "InvalidArgument"), (span.Status, span.GetTagItem("error.type")));
    }

    [Fact]
    public async Task Without_a_trace_a_record_has_no_header_and_a_recorded_one_goes_on_without_a_listener()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await client.PublishAsync("orders", Message("a"), Test);
        using var caller = new Activity("caller") { ActivityTraceFlags = ActivityTraceFlags.Recorded }.Start();
        await client.PublishAsync("orders", Message("b"), Test);

        Assert.Empty(cluster.Topic("orders")!.Records[0].Headers);
        var header = Assert.Single(cluster.Topic("orders")!.Records[1].Headers);
        Assert.Equal(caller.Id, header.Value.ToStringUtf8());
    }

    [Fact]
    public async Task The_stream_that_a_traced_publish_opens_does_not_belong_to_its_trace()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        using var spans = new SpanList("System.Net.Http");
        using var caller = new Activity("caller") { ActivityTraceFlags = ActivityTraceFlags.Recorded }.Start();

        await client.PublishAsync("orders", Message("a"), Test);
        await client.DisposeAsync();

        Assert.Empty(spans.Of(caller.TraceId));
    }
}
