using System.Diagnostics;
using System.Text;
using Broker.Client;
using Broker.Client.Tracing;
using Broker.Protocol.V1;
using Google.Protobuf;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Client;

public sealed class TraceHeaderTests
{
    private const string Value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    private static readonly ActivityContext Context = ActivityContext.Parse(Value, null);

    [Fact]
    public void A_messages_header_is_as_W3C_says_and_is_found_in_the_encoded_batch()
    {
        var traced = TraceHeader.Add(Message("hi"), Context);
        var batch = RecordBatchEncoder.Encode([Message("without"), traced]);

        var header = Assert.Single(RecordBatch.Parser.ParseFrom(batch).Records[1].Headers);
        Assert.Equal(("traceparent", Value), (header.Name, header.Value.ToStringUtf8()));
        var found = Assert.Single(Find(batch));
        Assert.Equal((Context.TraceId, Context.SpanId), (found.TraceId, found.SpanId));
        Assert.True(found.IsRemote);
    }

    [Fact]
    public void A_header_that_is_added_to_encoded_ones_reads_as_protobuf_does()
    {
        var record = new Record { Headers = { new Header { Name = "a", Value = ByteString.CopyFromUtf8("b") } } };

        var headers = TraceHeader.Add(record.ToByteArray(), Context);

        Assert.Equal(
            [("a", "b"), ("traceparent", Value)],
            Record.Parser.ParseFrom(headers.Span).Headers.Select(header => (header.Name, header.Value.ToStringUtf8())));
        Assert.True(TraceHeader.TryRead(headers.Span, out var context));
        Assert.Equal(Context.SpanId, context.SpanId);
    }

    [Fact]
    public void A_message_keeps_a_trace_of_its_own_and_no_more_headers_than_are_allowed()
    {
        KeyValuePair<string, ReadOnlyMemory<byte>> own = new("traceparent", "mine"u8.ToArray());
        var traced = Message("a") with { Headers = [own] };
        var full = Message("b") with { Headers = [.. Enumerable.Repeat(own, 64).Select(one => own)] };

        Assert.Same(traced, TraceHeader.Add(traced, Context));
        Assert.Same(full, TraceHeader.Add(full, Context));
        foreach (var message in (BrokerMessage[])[traced, full])
        {
            var record = RecordBatch.Parser.ParseFrom(RecordBatchEncoder.Encode([message])).Records[0];
            var headers = new Record { Headers = { record.Headers } }.ToByteArray();
            Assert.Equal(headers, TraceHeader.Add(headers, Context).ToArray());
        }
    }

    [Theory]
    [InlineData("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
    [InlineData("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
    [InlineData("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x")]
    [InlineData("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")]
    [InlineData("")]
    public void What_is_not_recorded_or_malformed_is_no_trace(string value)
    {
        var message = Message("a") with { Headers = [new("traceparent", Encoding.ASCII.GetBytes(value))] };

        Assert.Empty(Find(RecordBatchEncoder.Encode([message])));
    }

    [Fact]
    public void Bytes_that_are_no_batch_have_no_trace_and_cause_no_error()
    {
        var random = new Random(1);
        var batch = RecordBatchEncoder.Encode([TraceHeader.Add(Message("hi"), Context)]);
        for (var i = 0; i < 1_000; i++)
        {
            var bytes = (byte[])batch.Clone();
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            Assert.InRange(Find(bytes.AsSpan(0, random.Next(bytes.Length))).Length, 0, 1);
        }
    }

    [Fact]
    public void A_batch_of_one_request_counts_once_and_only_its_first_records_are_looked_at()
    {
        var other = new ActivityContext(Context.TraceId, ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded);
        var batch = RecordBatchEncoder.Encode(
        [
            TraceHeader.Add(Message("a"), Context), TraceHeader.Add(Message("b"), Context),
            TraceHeader.Add(Message("c"), other),
        ]);

        Assert.Equal([Context.SpanId, other.SpanId], Find(batch).Select(context => context.SpanId));
        Assert.Equal([Context.SpanId], Find(batch, recordsLeft: 2).Select(context => context.SpanId));
    }

    private static ActivityContext[] Find(ReadOnlySpan<byte> batch, int recordsLeft = 100)
    {
        var room = new TraceContexts();
        Span<ActivityContext> contexts = room;
        return contexts[..TraceHeader.Find(batch, ref recordsLeft, contexts)].ToArray();
    }
}
