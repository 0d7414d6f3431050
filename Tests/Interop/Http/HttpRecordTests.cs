using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;
using Contract = Broker.Protocol.V1;

namespace Broker.Tests.Interop.Http;

/// <summary>Publishing and reading by HTTP, at any broker.</summary>
[Collection(HttpCollection.Name)]
public sealed class HttpRecordTests(HttpBrokers brokers)
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_record_is_published_as_it_is_and_read_at_every_broker()
    {
        var topic = NewName("http.one");
        var ack = await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}/records?ttl_ms=3600000&priority=7", "{\"a\": 1}", node: 2, headers:
            ["X-Key: Grüße", "X-Header-Kind: new", "X-Header-Other: Größe", "Content-Type: application/json"]);
        Assert.Equal(topic, Text(ack, "topic"));
        Assert.Equal(0, Number(ack, "offset"));
        Assert.Equal(1, Number(ack, "count"));
        Assert.False(ack.GetProperty("duplicate").GetBoolean());
        for (var node = 1; node <= 3; node++)
        {
            var read = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=0", node: node);
            Assert.Equal(Text(ack, "topic_id"), Text(read, "topic_id"));
            Assert.Equal(1, Number(read, "next_offset"));
            Assert.Equal(1, Number(read, "end_offset"));
            var record = Assert.Single(read.GetProperty("records").EnumerateArray());
            Assert.Equal("Grüße", Text(record, "key"));
            Assert.Equal("{\"a\": 1}", Text(record, "value"));
            Assert.Equal(3_600_000, Number(record, "ttl_ms"));
            Assert.Equal(7, Number(record, "priority"));
            Assert.Equal(Number(ack, "timestamp_unix_ms"), Number(record, "timestamp_unix_ms"));
            Assert.Equal(
                ["content-type=application/json", "kind=new", "other=Größe"],
                record.GetProperty("headers").EnumerateArray()
                    .Select(static each => $"{Text(each, "name")}={Text(each, "value")}"));
        }

        using var one = await brokers.SendAsync("GET", $"/v1/topics/{topic}/records/0", node: 3);
        Assert.Equal("application/json", one.Content.Headers.ContentType?.MediaType);
        Assert.Equal("{\"a\": 1}", await one.Content.ReadAsStringAsync(Test));
        Assert.Equal("0", one.Headers.GetValues("Broker-Offset").Single());
        Assert.Equal(Text(ack, "topic_id"), one.Headers.GetValues("Broker-Topic-Id").Single());
    }

    [Fact]
    public async Task Any_bytes_come_back_as_they_were()
    {
        var topic = NewName("http.bytes");
        byte[] value = [0, 255, 10, 13, 128, 10];
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records", value);
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records");
        var read = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?linearizable=true", node: 2);
        var records = read.GetProperty("records").EnumerateArray().ToArray();
        Assert.Equal(value, records[0].GetProperty("value_base64").GetBytesFromBase64());
        Assert.False(records[0].TryGetProperty("value", out _));
        Assert.Equal("", Text(records[1], "value"));
        using var raw = await brokers.SendAsync("GET", $"/v1/topics/{topic}/records/0");
        Assert.Equal(value, await raw.Content.ReadAsByteArrayAsync(Test));
        Assert.Equal("application/octet-stream", raw.Content.Headers.ContentType?.MediaType);
    }

    [Fact]
    public async Task A_batch_is_stored_together_with_keys_headers_and_values_of_every_kind()
    {
        var topic = NewName("http.batch");
        var ack = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records:batch", new
        {
            expected_offset = 0,
            records = new object[]
            {
                new { key = "1", value = "text", headers = new[] { new { name = "h", value = "v" } } },
                new { value = new { total = 9.9 } },
                new { key_base64 = "AP8=", value_base64 = "/wA=" },
                new { deliver_at_unix_ms = 4_000_000_000_000, value = "later" },
            },
        });
        Assert.Equal(4, Number(ack, "count"));
        var read = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?linearizable=true", node: 3);
        var records = read.GetProperty("records").EnumerateArray().ToArray();
        Assert.Equal("v", Text(records[0].GetProperty("headers")[0], "value"));
        Assert.Equal("{\"total\":9.9}", Text(records[1], "value"));
        Assert.Equal("application/json", Text(records[1].GetProperty("headers")[0], "value"));
        Assert.Equal("AP8=", Text(records[2], "key_base64"));
        Assert.Equal("/wA=", Text(records[2], "value_base64"));
        Assert.Equal(4_000_000_000_000, Number(records[3], "deliver_at_unix_ms"));

        var late = await brokers.AskAsync("GET", $"/v1/topics/{topic}/delayed");
        Assert.Equal(3, Number(Assert.Single(late.GetProperty("records").EnumerateArray()), "offset"));
        var taken = await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}/delayed:cancel", new { offsets = new[] { 3 } }, node: 2);
        Assert.Equal(1, Number(taken, "count"));

        // Somebody else has decided by the same state.
        var refused = await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}/records?expected_offset=0", "x", status: 400);
        Assert.Equal("UNEXPECTED_OFFSET", Text(refused, "reason"));
    }

    [Fact]
    public async Task Pages_go_on_where_the_one_before_ended_and_keep_to_their_bounds()
    {
        var topic = NewName("http.pages");
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records:batch", new
        {
            records = Enumerable.Range(0, 25).Select(static number => new { value = new string('x', 1_000) + number }),
        });
        var (next, pages, seen) = (0L, 0, 0);
        do
        {
            var page = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from={next}&max=10&max_bytes=5000");
            var records = page.GetProperty("records").EnumerateArray().ToArray();
            Assert.InRange(records.Length, 1, 4);
            foreach (var record in records)
            {
                Assert.Equal(seen, Number(record, "offset"));
                Assert.EndsWith($"x{seen++}", Text(record, "value"), StringComparison.Ordinal);
            }

            (next, pages) = (Number(page, "next_offset"), pages + 1);
        }
        while (next < 25);
        Assert.InRange(pages, 7, 25);
        var nothing = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=end");
        Assert.Equal(25, Number(nothing, "next_offset"));
        Assert.Empty(nothing.GetProperty("records").EnumerateArray());
        var one = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=7&max=1&max_bytes=1");
        Assert.Equal(7, Number(Assert.Single(one.GetProperty("records").EnumerateArray()), "offset"));
    }

    [Fact]
    public async Task A_read_waits_for_the_next_record_and_says_where_to_go_on_when_none_comes()
    {
        var topic = NewName("http.wait");
        var nothing = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=end&wait_ms=300");
        Assert.Equal(0, Number(nothing, "next_offset"));
        var waiting = brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=0&wait_ms=60000", node: 2);
        var ack = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records", "came", node: 3);
        Assert.Equal("came", Text((await waiting).GetProperty("records")[0], "value"));

        // By the time of a record it is found; a time to come is the end.
        var at = DateTimeOffset.FromUnixTimeMilliseconds(Number(ack, "timestamp_unix_ms"))
            .ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var found = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from={at}");
        Assert.Equal("came", Text(found.GetProperty("records")[0], "value"));
        var end = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=2099-01-01T00:00:00Z");
        Assert.Equal(1, Number(end, "next_offset"));
    }

    [Fact]
    public async Task A_delayed_record_comes_to_a_group_when_it_is_due()
    {
        var topic = NewName("http.later");
        var group = NewName("later");
        await brokers.AskAsync("POST", "/v1/groups", new { name = group, config = new { filters = new[] { topic } } });
        var watch = Stopwatch.StartNew();
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records?delay_ms=1500", "later");
        while (true)
        {
            var fetched = await brokers.AskAsync(
                "POST", $"/v1/groups/{group}:fetch", new { wait_ms = 10_000 }, node: 2);
            if (fetched.GetProperty("deliveries").GetArrayLength() > 0)
            {
                Assert.True(watch.ElapsedMilliseconds >= 1_400, $"It came after {watch.ElapsedMilliseconds} ms.");
                return;
            }

            Assert.True(watch.Elapsed < TimeSpan.FromMinutes(1), "It does not come.");
        }
    }

    [Fact]
    public async Task Partitions_have_their_own_offsets_and_a_batch_of_many_keys_is_split()
    {
        var topic = NewName("http.parts");
        await brokers.AskAsync("POST", "/v1/topics", new { name = topic, config = new { partitions = 4 } });
        var ack = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records:batch", new
        {
            records = Enumerable.Range(0, 20).Select(static key => new { key = $"{key}", value = $"{key}" }),
        });
        Assert.Equal(4, Number(ack, "partitions"));
        Assert.False(ack.TryGetProperty("offset", out _));
        var parts = ack.GetProperty("parts").EnumerateArray().ToArray();
        Assert.Equal(20, parts.Sum(static part => part.GetProperty("records").GetArrayLength()));
        var third = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records?partition=3", "here", node: 2);
        Assert.Equal(3, Number(third, "partition"));
        var read = await brokers.AskAsync(
            "GET", $"/v1/topics/{topic}/records?partition=3&from={Number(third, "offset")}&linearizable=true", node: 3);
        Assert.Equal("here", Text(Assert.Single(read.GetProperty("records").EnumerateArray()), "value"));
        var none = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?partition=9", status: 404);
        Assert.Equal("NOT_FOUND", Text(none, "reason"));
    }

    [Fact]
    public async Task Under_one_key_a_record_is_stored_once_whoever_is_asked()
    {
        var topic = NewName("http.once");
        var answers = await Task.WhenAll(Enumerable.Range(0, 12).Select(number => brokers.AskAsync(
            "POST",
            $"/v1/topics/{topic}/records",
            "once",
            node: 1 + (number % 3),
            headers: "Idempotency-Key: order-1")));
        Assert.All(answers, static answer => Assert.Equal(0, Number(answer, "offset")));
        Assert.Single(answers, static answer => !answer.GetProperty("duplicate").GetBoolean());
        var other = await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}/records", "two", headers: "Idempotency-Key: order-2");
        Assert.Equal(1, Number(other, "offset"));

        // Three records under a key that had one cannot be a repetition of it.
        var refused = await brokers.AskAsync(
            "POST",
            $"/v1/topics/{topic}/records:batch",
            new { records = new[] { new { value = "1" }, new { value = "2" }, new { value = "3" } } },
            400,
            headers: "Idempotency-Key: order-1");
        Assert.Equal("OUT_OF_SEQUENCE", Text(refused, "reason"));
        var read = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?linearizable=true");
        Assert.Equal(2, Number(read, "next_offset"));
    }

    [Fact]
    public async Task What_is_published_by_HTTP_is_read_by_gRPC_and_the_other_way_round()
    {
        var topic = NewName("http.grpc");
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records?key=k", "by HTTP");
        using var channel = GrpcChannel.ForAddress(brokers.Brokers.GrpcOf(2));
        var client = new Contract.Broker.BrokerClient(channel);
        await client.PublishAsync(
            new Contract.PublishRequest
            {
                Topic = topic,
                Batch = new() { Records = { new Contract.Record { Value = ByteString.CopyFromUtf8("g") } } },
            },
            cancellationToken: Test);
        using var call = client.Read(
            new Contract.ReadRequest { Topic = topic, Linearizable = true }, cancellationToken: Test);
        Assert.True(await call.ResponseStream.MoveNext(Test));
        var first = call.ResponseStream.Current.Batches[0].Batch.Records[0];
        Assert.Equal("by HTTP", first.Value.ToStringUtf8());
        Assert.Equal("k", first.Key.ToStringUtf8());
        var read = await brokers.AskAsync("GET", $"/v1/topics/{topic}/records?from=1&linearizable=true", node: 3);
        Assert.Equal("g", Text(read.GetProperty("records")[0], "value"));
    }

    [Fact]
    public async Task A_name_has_one_meaning_however_it_is_written()
    {
        // A slash may stand in a topic's name; percent signs are decoded once.
        var name = NewName("http.a/b%2Fc:purge");
        await brokers.AskAsync("POST", $"/v1/topics/{Uri.EscapeDataString(name)}/records", "x");
        var topic = await brokers.AskAsync(
            "GET", $"/v1/topics/{Uri.EscapeDataString(name)}?linearizable=true", node: 2);
        Assert.Equal(name, Text(topic.GetProperty("topic"), "name"));
    }

    [Fact]
    public async Task Curl_publishes_and_reads_as_the_README_says()
    {
        var topic = NewName("http.curl");
        var address = brokers.At(1, $"/v1/topics/{topic}/records");
        var ack = await CurlAsync("--data-binary", "hello", "-H", "X-Key: 42", $"{address}");
        Assert.Contains("\"offset\":0", ack, StringComparison.Ordinal);
        var large = Path.GetTempFileName();
        await File.WriteAllBytesAsync(large, new byte[1024 * 1024], Test);

        // Above 1 MB curl asks first (Expect: 100-continue).
        Assert.Contains(
            "\"offset\":1", await CurlAsync("--data-binary", $"@{large}", $"{address}"), StringComparison.Ordinal);
        File.Delete(large);
        using var read = JsonDocument.Parse(await CurlAsync($"{address}?from=0&max=1"));
        var record = read.RootElement.GetProperty("records")[0];
        Assert.Equal("hello", Text(record, "value"));

        // curl's own content type says nothing of the value.
        Assert.Empty(record.GetProperty("headers").EnumerateArray());
        var stream = await CurlAsync("-N", "-m", "3", $"{brokers.At(2, $"/v1/subscribe?filter={topic}&from=0")}");
        Assert.Contains("\"value\":\"hello\"", stream, StringComparison.Ordinal);
    }

    private static async Task<string> CurlAsync(params string[] arguments)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/curl"), "curl is not installed");
        var start = new ProcessStartInfo("curl", ["-s", .. arguments])
        {
            RedirectStandardOutput = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        using var curl = Process.Start(start)!;
        var output = await curl.StandardOutput.ReadToEndAsync(Test);
        await curl.WaitForExitAsync(Test);
        return output;
    }
}
