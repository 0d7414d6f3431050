using System.Net;
using System.Net.Sockets;
using System.Text;
using Broker.Tests.Scenarios;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;

namespace Broker.Tests.Interop.Http;

/// <summary>What is wrong is told: a status, a sentence and a reason, and nothing is done.</summary>
[Collection(HttpCollection.Name)]
public sealed class HttpRefusalTests(HttpBrokers brokers)
{
    private const string Json = "Content-Type: application/json";

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("GET", "/v1", null, 404, "nothing at")]
    [InlineData("GET", "/v1/topic", null, 404, "nothing at")]
    [InlineData("GET", "/v1/topics/a/b/c/d", null, 404, "nothing at")]
    [InlineData("PUT", "/v1/topics/a", "{}", 405, "takes DELETE, GET, PATCH")]
    [InlineData("DELETE", "/v1/topics/a/records", null, 405, "takes GET, POST")]
    [InlineData("POST", "/v1/subscribe", null, 405, "takes GET")]
    [InlineData("POST", "/v1/topics/a..b/records", "x", 400, "token")]
    [InlineData("POST", "/v1/topics/%24a/records", "x", 400, "$")]
    [InlineData("POST", "/v1/topics/a%FF/records", "x", 400, "UTF-8")]
    [InlineData("POST", "/v1/topics/a%2/records", "x", 400, "hexadecimal")]
    [InlineData("POST", "/v1/topics/a/records?kee=1", "x", 400, "no query parameter 'kee'")]
    [InlineData("POST", "/v1/topics/a/records?key=1&key=2", "x", 400, "comes twice")]
    [InlineData("POST", "/v1/topics/a/records?key=1", "x", 400, "send one", "X-Key: 2")]
    [InlineData("POST", "/v1/topics/a/records?priority=10", "x", 400, "riority")]
    [InlineData("POST", "/v1/topics/a/records?ttl_ms=-1", "x", 400, "expected a whole number")]
    [InlineData("POST", "/v1/topics/a/records?deliver_at=soon", "x", 400, "expected a time")]
    [InlineData("POST", "/v1/topics/a/records?deliver_at=1&delay_ms=1", "x", 400, "one of them")]
    [InlineData("POST", "/v1/topics/a/records?expected_offset=x", "x", 400, "expected a whole number")]
    [InlineData("POST", "/v1/topics/a/records", "x", 400, "1 to 255", "Idempotency-Key: ")]
    [InlineData(
        "POST", "/v1/topics/a/records", "{}", 415, "for CloudEvents", "Content-Type: application/cloudevents+xml")]
    [InlineData("POST", "/v1/topics/a/records:batch", "{}", 415, "application/json")]
    [InlineData("POST", "/v1/topics/a/records:batch", "{}", 415, "application/json", "Content-Type: text/plain")]
    [InlineData("POST", "/v1/topics/a/records:batch", "", 400, "not JSON", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":", 400, "not JSON", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "[]", 400, "no JSON object", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":[]}", 400, "no records", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":[{\"val\":\"1\"}]}", 400, "[0] has 'val'", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":[{\"key_base64\":\"%\"}]}", 400, "no base64", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":[{\"key\":7}]}", 400, "quotation marks", Json)]
    [InlineData("POST", "/v1/topics/a/records:batch", "{\"records\":[{\"ttl_ms\":1.5}]}", 400, "whole number", Json)]
    [InlineData(
        "POST", "/v1/topics/a/records:batch", "{\"records\":[{}],\"producer\":{\"id\":1}}", 400, "one of them", Json,
        "Idempotency-Key: 1")]
    [InlineData("GET", "/v1/topics/http.never/records", null, 404, "no topic")]
    [InlineData("GET", "/v1/topics/http.never/records?from=later", null, 400, "expected an offset")]
    [InlineData("GET", "/v1/topics/http.never/records?max=0", null, 400, "from 1 to 1000")]
    [InlineData("GET", "/v1/topics/http.never/records?max=1001", null, 400, "from 1 to 1000")]
    [InlineData("GET", "/v1/topics/http.never/records?max_bytes=4194305", null, 400, "from 1 to 4194304")]
    [InlineData("GET", "/v1/topics/http.never/records?wait_ms=60001", null, 400, "from 0 to 60000")]
    [InlineData("GET", "/v1/topics/http.never/records?topic_id=x", null, 400, "topic_id")]
    [InlineData("GET", "/v1/topics/http.never/records", null, 406, "application/json or", "Accept: image/png")]
    [InlineData("GET", "/v1/topics/http.never/records/first", null, 400, "whole number")]
    [InlineData("GET", "/v1/topics?filter=a..b", null, 400, "token")]
    [InlineData("GET", "/v1/topics?page_size=many", null, 400, "whole number")]
    [InlineData("POST", "/v1/topics", "{\"name\":\"a\",\"confg\":{}}", 400, "confg", Json)]
    [InlineData("POST", "/v1/topics", "{\"name\":7", 400, "not the JSON of a CreateTopicRequest", Json)]
    [InlineData("POST", "/v1/topics", "{\"name\":\"a\",\"config\":{\"partitions\":-1}}", 400, "not the JSON", Json)]
    [InlineData("PATCH", "/v1/topics/a", "{\"name\":\"b\"}", 400, "but the address says 'a'", Json)]
    [InlineData("POST", "/v1/topics", "<a/>", 415, "application/json", "Content-Type: text/xml")]
    [InlineData("GET", "/v1/topics/http.never?linearizable=perhaps", null, 400, "true or false")]
    [InlineData("GET", "/v1/groups/http.never/records?state=lost", null, 400, "waiting, outstanding")]
    [InlineData("POST", "/v1/groups/http.never:fetch", null, 404, "group")]
    [InlineData("POST", "/v1/groups/http.never:settle", "{}", 400, "1 to 1,000", Json)]
    [InlineData("POST", "/v1/groups/http.never:pause?now=1", null, 400, "no query parameter")]
    [InlineData("POST", "/v1/cluster/nodes/one:drain", null, 400, "whole number")]
    [InlineData("POST", "/v1/topics/a/records", "x", 403, "A page of", "Origin: https://evil.example")]
    [InlineData("POST", "/v1/topics/a:purge", null, 403, "A page of", "Origin: null")]
    public async Task A_wrong_request_is_refused_with_a_sentence(
        string method, string path, string? body, int status, string words, params string[] headers)
    {
        var refused = await brokers.AskAsync(method, path, body, status, headers: headers);
        Assert.Contains(words, Text(refused, "detail"), StringComparison.Ordinal);
        Assert.Equal(status == 404 ? "NOT_FOUND" : "INVALID_REQUEST", Text(refused, "reason"));
    }

    [Fact]
    public async Task A_wrong_method_is_told_what_there_is()
    {
        using var answer = await brokers.SendAsync("PUT", "/v1/groups");
        Assert.Equal(HttpStatusCode.MethodNotAllowed, answer.StatusCode);
        Assert.Equal(["GET", "POST"], answer.Content.Headers.Allow.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("/v1/topics/http.large/records", 1024 * 1024, "application/octet-stream")]
    [InlineData("/v1/topics/http.large/records:batch", 8 * 1024 * 1024, "application/json")]
    [InlineData("/v1/groups/http.large:fetch", 8 * 1024 * 1024, "application/json")]
    public async Task A_body_beyond_its_bound_is_refused_before_it_is_read(string path, int bound, string type)
    {
        // Only the head is sent: what is declared is enough.
        var address = brokers.At(1, path);
        Assert.StartsWith(
            "HTTP/1.1 413 Payload Too Large",
            await SendRawAsync(address, path, $"Content-Type: {type}\r\nContent-Length: {bound + 1}\r\n\r\n"),
            StringComparison.Ordinal);

        // One that does not say how long it is, is read up to the bound.
        using var request = HttpBrokers.Request("POST", address, new byte[bound + 1], $"Content-Type: {type}");
        request.Headers.TransferEncodingChunked = true;
        using var answer = await brokers.Http.SendAsync(request, Test);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
        var problem = AssertIsProblem(answer, await answer.Content.ReadAsStringAsync(Test));
        Assert.Equal("LIMIT_REACHED", Text(problem, "reason"));
    }

    [Fact]
    public async Task A_header_that_stands_for_one_thing_comes_once()
    {
        const string Path = "/v1/topics/http.twice/records";
        var answer = await SendRawAsync(
            brokers.At(1, Path), Path, "X-Key: 1\r\nX-Key: 2\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        Assert.StartsWith("HTTP/1.1 400", answer, StringComparison.Ordinal);
        Assert.Contains("X-Key comes 2 times", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_record_that_is_larger_than_its_topic_takes_is_refused()
    {
        var topic = NewName("http.small");
        await brokers.AskAsync("POST", "/v1/topics", new { name = topic, config = new { max_message_bytes = 10 } });
        var refused = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records", "more than ten", 413, node: 2);
        Assert.Equal("MESSAGE_TOO_LARGE", Text(refused, "reason"));
    }

    [Fact]
    public async Task A_broker_without_room_says_when_to_come_back()
    {
        await using var full = new Brokers(founders: 1)
        {
            Settings = [("Broker__DiskReserveBytes", $"{1L << 50}")],
        };
        full.Start(1);
        using var http = new HttpClient();
        HttpResponseMessage? answer = null;
        await Brokers.UntilAsync(
            async () =>
            {
                try
                {
                    answer?.Dispose();
                    answer = await http.PostAsync(
                        new Uri(full.HttpOf(1), "/v1/topics/a/records"), new StringContent("x"), Test);
                    return answer.StatusCode == HttpStatusCode.TooManyRequests;
                }
                catch (HttpRequestException)
                {
                    return false;
                }
            },
            () => string.Join('\n', full.LinesOf(1)));
        var problem = AssertIsProblem(answer!, await answer!.Content.ReadAsStringAsync(Test));
        Assert.Equal("RESOURCE_EXHAUSTED", Text(problem, "code"));
        Assert.True(answer.Headers.RetryAfter?.Delta >= TimeSpan.FromSeconds(1), $"{problem}");
        Assert.True(Number(problem, "retry_after_ms") > 0);
        answer.Dispose();
    }

    [Fact]
    public async Task A_port_that_is_taken_is_told_and_a_broker_that_waits_says_for_what()
    {
        await using var one = new Brokers(founders: 1);
        using var taken = new TcpListener(IPAddress.Loopback, one.HttpOf(1).Port);
        taken.Start();
        one.Start(1);
        await one.SaysAsync(1, $"{one.HttpOf(1).Port}");
        taken.Stop();
        await one.KillAsync(1);

        one.Start(2, ("Broker__Join", "invitation"));
        await one.SaysAsync(2, "waits for an invitation");
        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri(one.HttpOf(2), "/v1/topics"), Test);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        AssertIsProblem(answer, await answer.Content.ReadAsStringAsync(Test));
    }

    /// <summary>A request as it stands there; the answer, until it ends or pauses.</summary>
    private static async Task<string> SendRawAsync(Uri address, string path, string rest)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(address.Host, address.Port, Test);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(
            Encoding.ASCII.GetBytes($"POST {path} HTTP/1.1\r\nHost: {address.Authority}\r\n{rest}"), Test);
        using var reader = new StreamReader(stream);
        var answer = new StringBuilder();
        while (await reader.ReadLineAsync(Test) is { } line && line != "0")
        {
            answer.Append(line).Append('\n');
        }

        return answer.ToString();
    }
}
