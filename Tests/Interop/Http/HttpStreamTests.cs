using System.Text.Json;
using Broker.Tests.Scenarios;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;

namespace Broker.Tests.Interop.Http;

/// <summary>Live records as server-sent events.</summary>
[Collection(HttpCollection.Name)]
public sealed class HttpStreamTests(HttpBrokers brokers)
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_stream_that_was_cut_goes_on_at_another_broker_behind_what_came()
    {
        var topic = NewName("http.cut");
        await PublishAsync(topic, 0, 10);
        var (seen, id, node) = (0, (string?)null, 1);
        while (seen < 30)
        {
            // Each stream is cut after seven records, and the next one is at another broker.
            using var stream = await Events.OpenAsync(
                brokers, $"/v1/subscribe?filter={topic}&from=beginning", node, id);
            for (var count = 0; count < 7 && seen < 30; count++)
            {
                var (eventId, data) = await stream.NextAsync();
                Assert.Equal(seen, Number(data, "offset"));
                Assert.Equal($"{seen}", Text(data, "value"));
                Assert.Equal(topic, Text(data, "topic"));
                (id, seen) = (eventId, seen + 1);
                if (seen is 10 or 20)
                {
                    await PublishAsync(topic, seen, 10);
                }
            }

            node = 1 + (node % 3);
        }
    }

    [Fact]
    public async Task A_filter_has_topics_that_come_later_and_goes_on_in_each()
    {
        var filter = NewName("http.many");
        await PublishAsync($"{filter}.old", 0, 1);
        string? id;
        using (var stream = await Events.OpenAsync(brokers, $"/v1/subscribe?filter={filter}.%3E", node: 2))
        {
            // It began at the end: only what comes now.
            await PublishAsync($"{filter}.old", 1, 1);
            await PublishAsync($"{filter}.new", 0, 1);
            var values = new List<string>();
            do
            {
                var (eventId, data) = await stream.NextAsync();
                values.Add($"{Text(data, "topic")[(filter.Length + 1)..]} {Number(data, "offset")}");
                id = eventId;
            }
            while (values.Count < 2);
            Assert.Equal(["new 0", "old 1"], values.Order(StringComparer.Ordinal));
        }

        await PublishAsync($"{filter}.new", 1, 1);
        await PublishAsync($"{filter}.newer", 0, 1);
        using var again = await Events.OpenAsync(brokers, $"/v1/subscribe?filter={filter}.%3E", node: 3, id);
        var (_, one) = await again.NextAsync();
        var (_, two) = await again.NextAsync();
        Assert.Equal(
            [$"{filter}.new 1", $"{filter}.newer 0"],
            new[] { one, two }.Select(static each => $"{Text(each, "topic")} {Number(each, "offset")}")
                .Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task With_many_topics_a_cut_stream_misses_nothing()
    {
        // More topics than an id remembers: what comes twice is allowed, what is missing is not.
        var filter = NewName("http.wide");
        const int Topics = 60;
        var missing = new HashSet<string>();
        for (var topic = 0; topic < Topics; topic++)
        {
            await PublishAsync($"{filter}.{topic:000}-{new string('x', 40)}", 0, 1);
            missing.Add($"{filter}.{topic:000}-{new string('x', 40)} 0");
            missing.Add($"{filter}.{topic:000}-{new string('x', 40)} 1");
        }

        var id = (string?)null;
        using (var stream = await Events.OpenAsync(brokers, $"/v1/subscribe?filter={filter}.*&from=beginning"))
        {
            for (var count = 0; count < Topics - 5; count++)
            {
                (id, var data) = await stream.NextAsync();
                missing.Remove($"{Text(data, "topic")} {Number(data, "offset")}");
                Assert.InRange(id!.Length, 10, 2_500);
            }
        }

        for (var topic = 0; topic < Topics; topic++)
        {
            await PublishAsync($"{filter}.{topic:000}-{new string('x', 40)}", 1, 1);
        }

        using var again = await Events.OpenAsync(brokers, $"/v1/subscribe?filter={filter}.*", node: 2, id);
        while (missing.Count > 0)
        {
            var (_, data) = await again.NextAsync();
            missing.Remove($"{Text(data, "topic")} {Number(data, "offset")}");
        }
    }

    [Fact]
    public async Task A_stream_begins_at_an_offset_and_stays_open_by_comments()
    {
        var topic = NewName("http.from");
        await PublishAsync(topic, 0, 5);
        using var stream = await Events.OpenAsync(
            brokers, $"/v1/subscribe?filter={topic}&from=3&heartbeat_ms=1000");
        Assert.Equal(3, Number((await stream.NextAsync()).Data, "offset"));
        Assert.Equal(4, Number((await stream.NextAsync()).Data, "offset"));
        Assert.Equal(":", await stream.NextCommentAsync());
        await PublishAsync(topic, 5, 1);
        Assert.Equal(5, Number((await stream.NextAsync()).Data, "offset"));
    }

    [Fact]
    public async Task A_reader_that_is_slow_gets_everything_and_costs_no_memory()
    {
        var topic = NewName("http.slow");
        const int Records = 400;
        using var stream = await Events.OpenAsync(brokers, $"/v1/subscribe?filter={topic}&from=end");
        for (var batch = 0; batch < Records / 20; batch++)
        {
            await brokers.AskAsync("POST", $"/v1/topics/{topic}/records:batch", new
            {
                records = Enumerable.Range(0, 20).Select(static _ => new { value = new string('y', 50_000) }),
            });
        }

        // 20 MB wait for a reader that has not read a byte; the log keeps them, not the broker.
        for (var offset = 0; offset < Records; offset++)
        {
            Assert.Equal(offset, Number((await stream.NextAsync()).Data, "offset"));
        }
    }

    [Fact]
    public async Task A_broker_that_stops_ends_its_streams_with_a_word()
    {
        await using var one = new Brokers(founders: 1);
        await one.FormAsync();
        using var http = new HttpClient();
        using var answer = await http.GetAsync(
            new Uri(one.HttpOf(1), "/v1/subscribe?filter=%3E"), HttpCompletionOption.ResponseHeadersRead, Test);
        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(Test));
        Assert.StartsWith(":", await reader.ReadLineAsync(Test), StringComparison.Ordinal);
        await one.TerminateAsync(1);
        var rest = await reader.ReadToEndAsync(Test);
        Assert.Contains("event: problem\ndata: {", rest, StringComparison.Ordinal);
        Assert.Contains("\"reason\":\"NODE_STOPS\"", rest, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/v1/subscribe", "no filter", 400)]
    [InlineData("/v1/subscribe?filter=a..b", "token", 400)]
    [InlineData("/v1/subscribe?filter=a.*&from=3", "offset is one topic's", 400)]
    [InlineData("/v1/subscribe?filter=http.never.was&from=3", "no topic", 404)]
    [InlineData("/v1/subscribe?filter=a&from=yesterday", "expected an offset", 400)]
    [InlineData("/v1/subscribe?filter=a&partition=1", "partition but no offset", 400)]
    public async Task A_stream_that_cannot_begin_is_refused(string path, string words, int status)
    {
        var refused = await brokers.AskAsync("GET", path, status: status);
        Assert.Contains(words, Text(refused, "detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_id_that_no_stream_has_given_is_refused()
    {
        var refused = await brokers.AskAsync(
            "GET", "/v1/subscribe?filter=a", status: 400, headers: "Last-Event-ID: 17 or so");
        Assert.Contains("Last-Event-ID", Text(refused, "detail"), StringComparison.Ordinal);
    }

    private async Task PublishAsync(string topic, int first, int count)
    {
        for (var number = first; number < first + count; number++)
        {
            var ack = await brokers.AskAsync(
                "POST", $"/v1/topics/{topic}/records", $"{number}", node: 1 + (number % 3));
            Assert.Equal(number, Number(ack, "offset"));
        }
    }

    /// <summary>One stream, as a browser reads it.</summary>
    private sealed class Events(HttpResponseMessage answer, StreamReader reader) : IDisposable
    {
        public static async Task<Events> OpenAsync(HttpBrokers brokers, string path, int node = 1, string? id = null)
        {
            using var request = Request(
                "GET", brokers.At(node, path), null, id is null ? [] : [$"Last-Event-ID: {id}"]);
            var answer = await brokers.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Test);
            Assert.True(answer.IsSuccessStatusCode, await WhyAsync(answer));
            Assert.Equal("text/event-stream", answer.Content.Headers.ContentType?.MediaType);
            return new Events(answer, new StreamReader(await answer.Content.ReadAsStreamAsync(Test)));
        }

        public async Task<(string Id, JsonElement Data)> NextAsync()
        {
            var id = "";
            while (true)
            {
                var line = await LineAsync();
                if (line.StartsWith("id: ", StringComparison.Ordinal))
                {
                    id = line[4..];
                }
                else if (line.StartsWith("data: ", StringComparison.Ordinal))
                {
                    using var json = JsonDocument.Parse(line[6..]);
                    return (id, json.RootElement.Clone());
                }
                else
                {
                    Assert.True(line.Length == 0 || line[0] == ':', line);
                }
            }
        }

        public async Task<string> NextCommentAsync()
        {
            string line;
            do
            {
                line = await LineAsync();
            }
            while (!line.StartsWith(':'));
            return line;
        }

        public void Dispose()
        {
            reader.Dispose();
            answer.Dispose();
        }

        private static async Task<string> WhyAsync(HttpResponseMessage answer) =>
            answer.IsSuccessStatusCode ? "" : await answer.Content.ReadAsStringAsync(Test);

        private async Task<string> LineAsync()
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
            patience.CancelAfter(TimeSpan.FromMinutes(1));
            return await reader.ReadLineAsync(patience.Token) ?? throw new EndOfStreamException("The stream ended.");
        }
    }
}
