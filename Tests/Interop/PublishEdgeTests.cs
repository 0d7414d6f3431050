using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dapper;
using Google.Protobuf;
using Grpc.Core;
using Npgsql;
using Publisher.Protocol.V1;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>The publisher's edges: names, headers, methods, parameters, and what a stop does to open calls.</summary>
public sealed class PublishEdgeTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    private readonly FakeBrokers _brokers = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Theory]
    [InlineData("a%2Fb", "a/b")]
    [InlineData("a%252Fb", "a%2Fb")]
    [InlineData("gr%C3%BC%C3%9Fe", "grüße")]
    [InlineData("a+b", "a+b")]
    public async Task A_topic_in_the_address_is_decoded_once_and_whole(string segment, string topic)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await publisher.Http.PostAsync($"/publish/{segment}", new StringContent("x"), Test);
        Assert.Equal(["x"], _brokers.Values(topic));
    }

    [Theory]
    [InlineData("/publish/%FF", "not UTF-8")]
    [InlineData("/publish/%EF%BB%BFa", "cannot be seen")]
    [InlineData("/publish/a%E2%80%8Bb", "cannot be seen")]
    [InlineData("/publish/a%EF%BF%BDb", "replacement character")]
    [InlineData("/publish/a?wait=forever", "expected 'stored' or 'committed'")]
    [InlineData("/publish/a?wait=", "expected 'stored' or 'committed'")]
    [InlineData("/publish/a?wait=stored&wait=stored", "wait comes twice")]
    [InlineData("/publish/a?wiat=stored", "no query parameter 'wiat'")]
    [InlineData("/publish/a..b", "empty token")]
    [InlineData("/publish/a?deliver_at=soon", "expected a time")]
    [InlineData("/publish/a?deliver_at=1&delay_ms=1", "one of them")]
    [InlineData("/publish/a?delay_ms=-1", "whole number from 0")]
    [InlineData("/publish/a?ttl_ms=1h", "whole number from 0")]
    [InlineData("/publish/a?priority=10", "from 0 to 9")]
    public async Task A_bad_address_is_refused_with_a_sentence(string address, string sentence)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var answer = await publisher.Http.PostAsync(address, new StringContent("x"), Test);
        await AssertProblemAsync(answer, HttpStatusCode.BadRequest, sentence);
    }

    [Fact]
    public async Task A_message_brings_its_times_and_its_priority_to_the_brokers()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var before = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        foreach (var query in (string[])["ttl_ms=60000&priority=9", "deliver_at=2100-01-01T00:00:00Z", "delay_ms=5000"])
        {
            (await publisher.Http.PostAsync($"/publish/a?{query}", new StringContent("x"), Test))
                .EnsureSuccessStatusCode();
        }

        var after = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var records = _brokers.Records("a");
        Assert.Equal((60_000UL, 9U, 0L), (records[0].TtlMs, records[0].Priority, records[0].DeliverAtUnixMs));
        Assert.Equal(4_102_444_800_000, records[1].DeliverAtUnixMs);
        Assert.InRange(records[2].DeliverAtUnixMs, before + 5_000, after + 5_000);
    }

    [Fact]
    public async Task A_delay_may_be_asked_for_again_under_the_same_key()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        for (var i = 0; i < 2; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/publish/a?delay_ms=5000");
            request.Content = new StringContent("x");
            request.Headers.Add("Idempotency-Key", "4f9a");
            var answer = await publisher.Http.SendAsync(request, Test);
            var json = await answer.Content.ReadFromJsonAsync<JsonElement>(Test);
            Assert.Equal(0, json.GetProperty("offset").GetInt64());
        }

        Assert.Single(_brokers.Records("a"));
    }

    [Fact]
    public async Task Headers_keep_their_bytes_their_number_and_their_order()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        Assert.StartsWith(
            "HTTP/1.1 200",
            await PostRawAsync(
                publisher,
                "X-Header-n: Grüße\r\n",
                "X-Header-n: 2\r\n",
                "X-Header-raw: \u00FF\u00FE\r\n",
                "X-Key: \u00FFk\r\n"),
            StringComparison.Ordinal);
        await using var connection = await publisher.Part<NpgsqlDataSource>().OpenConnectionAsync(Test);
        var (key, encoded) = await connection.QuerySingleAsync<(byte[], byte[])>("SELECT key, headers FROM outbox");
        Assert.Equal([0xFF, (byte)'k'], key);
        var headers = Record.Parser.ParseFrom(encoded).Headers;
        Assert.Equal(["n", "n", "raw"], headers.Select(header => header.Name));
        Assert.Equal(["Grüße", "2"], headers.Take(2).Select(header => header.Value.ToStringUtf8()));
        Assert.Equal([0xFF, 0xFE], headers[2].Value.ToByteArray());
    }

    [Theory]
    [InlineData("X-Key")]
    [InlineData("Idempotency-Key")]
    public async Task A_header_that_names_one_thing_comes_once(string header)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var answer = await PostRawAsync(publisher, $"{header}: k1\r\n", $"{header}: k2\r\n");
        Assert.StartsWith("HTTP/1.1 400", answer, StringComparison.Ordinal);
        Assert.Contains($"{header} comes 2 times", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a b")]
    public async Task A_bad_idempotency_key_is_refused(string key)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/publish/orders")
        {
            Content = new StringContent("x"),
        };
        request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        await AssertProblemAsync(
            await publisher.Http.SendAsync(request, Test), HttpStatusCode.BadRequest, "visible ASCII");
    }

    [Theory]
    [InlineData("GET", "/publish/x", "POST")]
    [InlineData("PUT", "/publish/x", "POST")]
    [InlineData("DELETE", "/publish/x", "POST")]
    [InlineData("OPTIONS", "/publish/x", "POST")]
    [InlineData("POST", "/outbox/1", "GET")]
    public async Task Other_methods_are_refused_with_those_that_are_allowed(string method, string address, string allow)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        using var request = new HttpRequestMessage(new HttpMethod(method), address);
        var answer = await publisher.Http.SendAsync(request, Test);
        Assert.Equal([allow], answer.Content.Headers.Allow);
        await AssertProblemAsync(answer, HttpStatusCode.MethodNotAllowed, $"it takes {allow}");
    }

    [Fact]
    public async Task A_body_above_the_limit_and_an_unknown_address_are_refused_with_a_sentence()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await AssertProblemAsync(
            await publisher.Http.PostAsync("/publish/a", new ByteArrayContent(new byte[(1024 * 1024) + 1]), Test),
            HttpStatusCode.RequestEntityTooLarge,
            "1,048,576");
        await AssertProblemAsync(
            await publisher.Http.PostAsync("/publish/a/b", new StringContent("x"), Test),
            HttpStatusCode.NotFound,
            "/publish/a/b");
    }

    [Fact]
    public async Task Names_that_cannot_be_told_apart_are_refused_over_gRPC()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);

        // Topic FF FE, as a client writes it that does not check: field 1, two bytes.
        var method = new Method<byte[], byte[]>(
            MethodType.Unary,
            "publisher.v1.Publisher",
            "Publish",
            Marshallers.Create(bytes => bytes, bytes => bytes),
            Marshallers.Create(bytes => bytes, bytes => bytes));
        var invoker = publisher.Grpc.CreateCallInvoker();
        var call = invoker.AsyncUnaryCall(
            method, null, new CallOptions(cancellationToken: Test), [0x0A, 0x02, 0xFF, 0xFE]);
        var refusal = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync);
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        Assert.Equal(0, await publisher.CountAsync("true"));
    }

    [Fact]
    public async Task A_stopping_publisher_answers_what_it_has_stored_and_ends_at_once()
    {
        _brokers.Down = true;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var posting = publisher.Http.PostAsync("/publish/orders", new StringContent("a"), Test);
        var client = new Publisher.Protocol.V1.Publisher.PublisherClient(publisher.Grpc);
        using var stream = client.PublishStream(cancellationToken: Test);
        var request = new PublishRequest
        {
            Topic = "orders",
            Record = new Record { Value = ByteString.CopyFromUtf8("b") },
        };
        await stream.RequestStream.WriteAsync(new PublishStreamRequest { Correlation = 7, Message = request }, Test);
        using var given = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var answers = new List<PublishStreamResponse>();
        var reading = Task.Run(
            async () =>
            {
                while (await stream.ResponseStream.MoveNext(Test))
                {
                    answers.Add(stream.ResponseStream.Current);
                }
            },
            Test);
        using var slow = new HttpRequestMessage(HttpMethod.Post, "/publish/orders")
        {
            Content = new StalledContent(given.Token),
        };
        var stalled = publisher.Http.SendAsync(slow, Test);
        await Eventually.HoldsAsync(async () => await publisher.CountAsync("true") == 2, () => "both are stored");

        var watch = Stopwatch.StartNew();
        await publisher.StopAsync();
        var stopped = watch.Elapsed;
        Assert.True(stopped < TimeSpan.FromSeconds(5), $"It took {stopped} to stop.");
        await given.CancelAsync();
        Assert.Equal(HttpStatusCode.Accepted, (await posting).StatusCode);
        var ended = await Assert.ThrowsAsync<RpcException>(() => reading);
        Assert.True(answers.Count == 1, $"{answers.Count} answers after {stopped.TotalMilliseconds:N0} ms: {ended}");
        var answer = answers[0];
        Assert.Equal((7UL, 0U, false), (answer.Correlation, answer.Status, answer.Response.Committed));
        Assert.True(
            ended.StatusCode == StatusCode.Unavailable
            && ended.Status.Detail.Contains("stops", StringComparison.Ordinal),
            $"{stopped.TotalMilliseconds:N0} ms: {ended}");
        await Task.WhenAny(stalled);
        Assert.True(
            !stalled.IsCompletedSuccessfully || (await stalled).StatusCode == HttpStatusCode.ServiceUnavailable);
    }

    // HttpClient would join headers of one name. Text beyond Latin-1's first half is sent as UTF-8, a byte as itself.
    private static async Task<string> PostRawAsync(PublisherProcess publisher, params string[] headers)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync("127.0.0.1", publisher.Http.BaseAddress!.Port, Test);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(
            "POST /publish/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n"u8.ToArray(), Test);
        foreach (var header in headers)
        {
            var encoding = header.Contains("Gr", StringComparison.Ordinal) ? Encoding.UTF8 : Encoding.Latin1;
            await stream.WriteAsync(encoding.GetBytes(header), Test);
        }

        await stream.WriteAsync("\r\nx"u8.ToArray(), Test);
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(Test);
    }

    private static async Task AssertProblemAsync(HttpResponseMessage answer, HttpStatusCode status, string sentence)
    {
        Assert.Equal(status, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        var problem = await answer.Content.ReadFromJsonAsync<JsonElement>(Test);
        Assert.Contains(sentence, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    /// <summary>A body that never ends.</summary>
    private sealed class StalledContent(CancellationToken given) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync(new byte[10], Test);
            await stream.FlushAsync(Test);
            await Task.Delay(Timeout.InfiniteTimeSpan, given);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 100;
            return true;
        }
    }
}
