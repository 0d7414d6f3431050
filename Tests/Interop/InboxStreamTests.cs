using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Subscriber;
using Subscriber.Following;
using Subscriber.Protocol.V1;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>What those downstream of the inbox get: over HTTP, server-sent events and gRPC.</summary>
public sealed class InboxStreamTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    private readonly FakeLog _log = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Three_hundred_streams_get_every_message_over_twenty_connections_to_Postgres()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        const int Streams = 300;
        const int Messages = 1_000;
        var streams = await Task.WhenAll(Enumerable.Range(0, Streams).Select(_ => OpenAsync(subscriber, "/stream")));
        var reading = Task.WhenAll(streams.Select(stream => ReadIdsAsync(stream, Messages)));
        for (var i = 0; i < Messages; i++)
        {
            subscriber.Part<LiveReceiver>().Receive(
                "broker:orders", Google.Protobuf.MessageExtensions.ToByteArray(_log.Append("orders", $"{i}")));
        }

        foreach (var ids in await reading.WaitAsync(TimeSpan.FromSeconds(120), Test))
        {
            Assert.Equal(Enumerable.Range(1, Messages).Select(i => (long)i), ids);
        }

        streams.ToList().ForEach(stream => stream.Dispose());
    }

    [Fact]
    public async Task A_stream_that_begins_behind_what_memory_holds_gets_everything_in_order()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        using var early = await OpenAsync(subscriber, "/stream");
        const int Count = SubscriberLimits.TailRows + 5_000;
        _log.Append("orders", [.. Enumerable.Range(0, Count).Select(i => $"{i}")]);
        await subscriber.HasAsync("orders", Count);
        using var late = await OpenAsync(subscriber, "/stream?after=10&topic=orders");
        Assert.Equal(Enumerable.Range(11, Count - 10).Select(i => (long)i), await ReadIdsAsync(late, Count - 10));
        Assert.Equal(Enumerable.Range(1, Count).Select(i => (long)i), await ReadIdsAsync(early, Count));
    }

    [Fact]
    public async Task A_place_beyond_the_inbox_is_refused_with_where_it_ends()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        _log.Append("orders", "a", "b");
        await subscriber.HasAsync("orders", 2);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/stream")
        {
            Headers = { { "Last-Event-ID", "999999999" } },
        };
        await AssertProblemAsync(
            await subscriber.Http.SendAsync(request, Test), HttpStatusCode.RequestedRangeNotSatisfiable, "ends at 2");
        await AssertProblemAsync(
            await subscriber.Http.GetAsync("/messages?after=3", Test),
            HttpStatusCode.RequestedRangeNotSatisfiable,
            "ends at 2");
        Assert.Equal("[]", await subscriber.Http.GetStringAsync("/messages?after=2", Test));
        var all = await subscriber.Http.GetFromJsonAsync<JsonElement[]>("/messages", Test);
        Assert.Equal(["a", "b"], all!.Select(message => message.GetProperty("text").GetString()));

        var client = new Subscriber.Protocol.V1.Subscriber.SubscriberClient(subscriber.Grpc);
        using var call = client.Messages(
            new MessagesRequest { AfterInboxId = 3, Follow = true }, cancellationToken: Test);
        var refusal = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(Test));
        Assert.Equal(StatusCode.OutOfRange, refusal.StatusCode);
        using var negative = client.Messages(new MessagesRequest { AfterInboxId = -1 }, cancellationToken: Test);
        refusal = await Assert.ThrowsAsync<RpcException>(() => negative.ResponseStream.MoveNext(Test));
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
    }

    [Fact]
    public async Task A_stream_over_an_inbox_that_is_emptied_ends_with_a_problem()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        _log.Append("orders", "a", "b");
        await subscriber.HasAsync("orders", 2);
        using var stream = await OpenAsync(subscriber, "/stream?after=2");
        await subscriber.ExecuteAsync("DELETE FROM inbox");
        Assert.Equal("event: problem", await LineAsync(stream, "event:"));
        Assert.Contains("ends at 0", await LineAsync(stream, "data:"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stopping_subscriber_ends_its_streams_at_once_and_says_so()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        using var stream = await OpenAsync(subscriber, "/stream");
        var client = new Subscriber.Protocol.V1.Subscriber.SubscriberClient(subscriber.Grpc);
        using var call = client.Messages(new MessagesRequest { Follow = true }, cancellationToken: Test);
        var next = call.ResponseStream.MoveNext(Test);
        await Eventually.HoldsAsync(() => !next.IsCompleted, "the call is open");
        _log.Append("orders", "a");
        Assert.True(await next);
        next = call.ResponseStream.MoveNext(Test);

        var watch = Stopwatch.StartNew();
        await subscriber.StopAsync();
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), $"It took {watch.Elapsed} to stop.");
        Assert.Equal("event: problem", await LineAsync(stream, "event:"));
        Assert.Contains("stops", await LineAsync(stream, "data:"), StringComparison.Ordinal);
        Assert.Null(await stream.ReadLineAsync(Test) is { Length: > 0 } line ? line : null);
        var ended = await Assert.ThrowsAsync<RpcException>(() => next);
        Assert.Equal((StatusCode.Unavailable, true), (
            ended.StatusCode, ended.Status.Detail.Contains("stops", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_large_answer_is_written_as_it_is_read()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        await subscriber.ExecuteAsync(
            """
            INSERT INTO inbox (topic, "offset", timestamp_unix_ms, value, source)
            SELECT 'large', i, 1, decode(repeat('41', 1048576), 'hex'), 1 FROM generate_series(0, 99) AS i
            """);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var answers = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => subscriber.Http.GetAsync(
            "/messages?limit=1000", HttpCompletionOption.ResponseHeadersRead, Test)));
        await Task.Delay(500, Test);  // Nobody reads: what is produced now would be held.
        var held = (GC.GetTotalMemory(forceFullCollection: true) - before) / 1024 / 1024;
        Assert.True(held < 60, $"{held} MiB are held for three answers that nobody reads.");

        // At once, for the server cuts clients that read nothing for long.
        await Task.WhenAll(answers.Select(async answer =>
        {
            await using var body = await answer.Content.ReadAsStreamAsync(Test);
            var count = 0;
            await foreach (var message in JsonSerializer.DeserializeAsyncEnumerable<JsonElement>(
                body, JsonSerializerOptions.Web, Test))
            {
                Assert.Equal(count++, message.GetProperty("offset").GetInt64());
            }

            Assert.Equal(100, count);
            answer.Dispose();
        }));
    }

    [Theory]
    [InlineData("/messages?after=abc", "after is 'abc'")]
    [InlineData("/messages?after=", "after is ''")]
    [InlineData("/messages?after=-1", "after is '-1'")]
    [InlineData("/messages?limit=1.5", "limit is '1.5'")]
    [InlineData("/messages?limit=1001", "from 1 to 1000")]
    [InlineData("/messages?topic=a&topic=b", "topic comes twice")]
    [InlineData("/messages?topik=a", "no query parameter 'topik'")]
    [InlineData("/messages?topic=", "is empty")]
    [InlineData("/messages?topic=%FF", "not UTF-8")]
    [InlineData("/messages?topic=a..b", "empty token")]
    [InlineData("/stream?limit=1", "no query parameter 'limit'")]
    [InlineData("/stream?after=abc", "after is 'abc'")]
    [InlineData("/stats?x=1", "no query parameter 'x'")]
    [InlineData("/subjects?x=1", "no query parameter 'x'")]
    public async Task A_bad_parameter_is_refused_with_a_sentence(string address, string sentence)
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        await AssertProblemAsync(await subscriber.Http.GetAsync(address, Test), HttpStatusCode.BadRequest, sentence);
    }

    [Theory]
    [InlineData("abc")]
    [InlineData("-1")]
    [InlineData("")]
    public async Task A_bad_Last_Event_ID_is_refused(string id)
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/stream");
        request.Headers.TryAddWithoutValidation("Last-Event-ID", id);
        await AssertProblemAsync(
            await subscriber.Http.SendAsync(request, Test), HttpStatusCode.BadRequest, "Last-Event-ID");
    }

    [Fact]
    public async Task A_subject_in_the_address_is_decoded_once_and_whole()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log, null, "orders");
        foreach (var subject in new[] { "a%2Fb.%3E", "a%252Fb", "gr%C3%BC%C3%9Fe" })
        {
            var answer = await subscriber.Http.PutAsync($"/subjects/{subject}", null, Test);
            Assert.Equal(HttpStatusCode.NoContent, answer.StatusCode);
        }

        Assert.Equal(
            ["a%2Fb", "a/b.>", "grüße", "orders"],
            (await subscriber.Http.GetFromJsonAsync<string[]>("/subjects", Test))!);
        await subscriber.Http.DeleteAsync("/subjects/a%2Fb.%3E", Test);
        Assert.DoesNotContain("a/b.>", subscriber.Part<SubjectList>().Filters);
        await AssertProblemAsync(
            await subscriber.Http.PutAsync("/subjects/%FF", null, Test), HttpStatusCode.BadRequest, "not UTF-8");
        var get = await subscriber.Http.GetAsync("/subjects/x", Test);
        await AssertProblemAsync(get, HttpStatusCode.MethodNotAllowed, "PUT, DELETE");
        Assert.Equal(["DELETE", "PUT"], get.Content.Headers.Allow.Order());
        await AssertProblemAsync(
            await subscriber.Http.PostAsync("/messages", null, Test), HttpStatusCode.MethodNotAllowed, "GET");
        await AssertProblemAsync(
            await subscriber.Http.GetAsync("/nothing", Test), HttpStatusCode.NotFound, "/nothing");
    }

    [Fact]
    public async Task A_poll_that_cannot_work_is_an_unhealthy_service()
    {
        var options = new SubscriberOptions { Subjects = [">"], BrokerTimeout = TimeSpan.FromMilliseconds(200) };
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log, null, options);
        var health = subscriber.Part<PollHealth>();
        await HasStatusAsync(health, HealthStatus.Healthy);
        _log.Down = true;
        await HasStatusAsync(health, HealthStatus.Unhealthy);
        _log.Down = false;
        await HasStatusAsync(health, HealthStatus.Healthy);
    }

    private static Task HasStatusAsync(PollHealth health, HealthStatus status) => Eventually.HoldsAsync(
        async () => (await health.CheckHealthAsync(new HealthCheckContext(), Test)).Status == status,
        () => $"the poll is {status}");

    private static async Task<StreamReader> OpenAsync(SubscriberProcess subscriber, string address)
    {
        var answer = await subscriber.Http.GetAsync(address, HttpCompletionOption.ResponseHeadersRead, Test);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return new StreamReader(await answer.Content.ReadAsStreamAsync(Test));
    }

    private static async Task<List<long>> ReadIdsAsync(StreamReader stream, int count)
    {
        var ids = new List<long>(count);
        while (ids.Count < count)
        {
            ids.Add(long.Parse((await LineAsync(stream, "id:"))[3..], null));
        }

        return ids;
    }

    private static async Task<string> LineAsync(StreamReader stream, string prefix)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        while (true)
        {
            var line = await stream.ReadLineAsync(patience.Token);
            Assert.True(line is not null, $"The stream has ended before a line that begins with '{prefix}'.");
            if (line.StartsWith(prefix, StringComparison.Ordinal))
            {
                return line;
            }
        }
    }

    private static async Task AssertProblemAsync(HttpResponseMessage answer, HttpStatusCode status, string sentence)
    {
        Assert.Equal(status, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        var problem = await answer.Content.ReadFromJsonAsync<JsonElement>(Test);
        Assert.Contains(sentence, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }
}
