using System.Text;
using System.Text.Json;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;
using Contract = Broker.Protocol.V1;

namespace Broker.Tests.Interop.Http;

/// <summary>CloudEvents in each mode, read in each mode.</summary>
[Collection(HttpCollection.Name)]
public sealed class HttpCloudEventTests(HttpBrokers brokers)
{
    private const string Structured = "application/cloudevents+json";
    private const string Batched = "application/cloudevents-batch+json";

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_event_of_each_mode_is_read_in_each_mode_and_by_gRPC()
    {
        var topic = NewName("http.events");
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records", "{\"n\": 0}", headers:
        [
            "Content-Type: application/json", "ce-specversion: 1.0", "ce-id: 0", "ce-source: /tests",
            "ce-type: made", "ce-subject: Gr%C3%BC%C3%9Fe", "ce-partitionkey: k",
        ]);
        await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}/records", Event(1), node: 2, headers: $"Content-Type: {Structured}");
        var both = await brokers.AskAsync(
            "POST",
            $"/v1/topics/{topic}/records",
            $"[{Event(2)},{Event(3)}]",
            node: 3,
            headers: $"Content-Type: {Batched}; charset=utf-8");
        Assert.Equal(2, Number(both, "offset"));
        Assert.Equal(2, Number(both, "count"));

        // Batch.
        var batch = await brokers.AskAsync(
            "GET", $"/v1/topics/{topic}/records?linearizable=true", node: 2, headers: $"Accept: {Batched}");
        Assert.Equal(4, batch.GetArrayLength());
        for (var number = 0; number < 4; number++)
        {
            AssertIs(number, batch[number]);

            // Structured.
            AssertIs(number, await brokers.AskAsync(
                "GET", $"/v1/topics/{topic}/records/{number}", node: 3, headers: $"Accept: {Structured}"));

            // Binary.
            using var binary = await brokers.SendAsync("GET", $"/v1/topics/{topic}/records/{number}");
            Assert.Equal("1.0", binary.Headers.GetValues("ce-specversion").Single());
            Assert.Equal($"{number}", binary.Headers.GetValues("ce-id").Single());
            Assert.Equal("/tests", binary.Headers.GetValues("ce-source").Single());
            Assert.Equal("made", binary.Headers.GetValues("ce-type").Single());
            Assert.Equal("Gr%C3%BC%C3%9Fe", binary.Headers.GetValues("ce-subject").Single());
            Assert.Equal("application/json", binary.Content.Headers.ContentType?.MediaType);
            using var data = JsonDocument.Parse(await binary.Content.ReadAsStringAsync(Test));
            Assert.Equal(number, Number(data.RootElement, "n"));
        }

        // gRPC.
        using var channel = GrpcChannel.ForAddress(brokers.Brokers.GrpcOf(1));
        using var call = new Contract.Broker.BrokerClient(channel).Read(
            new Contract.ReadRequest { Topic = topic, Linearizable = true }, cancellationToken: Test);
        Assert.True(await call.ResponseStream.MoveNext(Test));
        foreach (var (number, record) in call.ResponseStream.Current.Batches
            .SelectMany(static each => each.Batch.Records).Index())
        {
            var headers = record.Headers.ToDictionary(
                static each => each.Name, static each => each.Value.ToStringUtf8());
            Assert.Equal($"{number}", headers["ce-id"]);
            Assert.Equal("Grüße", headers["ce-subject"]);
            Assert.Equal("application/json", headers["content-type"]);
            Assert.Equal("k", record.Key.ToStringUtf8());
        }
    }

    [Fact]
    public async Task Data_that_are_no_JSON_keep_their_bytes_in_every_mode()
    {
        var topic = NewName("http.data");
        byte[] picture = [137, 80, 78, 71, 0, 255];
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records", picture, headers:
            ["Content-Type: image/png", "ce-specversion: 1.0", "ce-id: 0", "ce-source: /t", "ce-type: t"]);
        await brokers.AskAsync(
            "POST",
            $"/v1/topics/{topic}/records",
            "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/t\",\"type\":\"t\",\"datacontenttype\":\"text/plain\","
            + "\"data\":\"Grüße\"}",
            headers: $"Content-Type: {Structured}");
        await brokers.AskAsync(
            "POST",
            $"/v1/topics/{topic}/records",
            "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/t\",\"type\":\"t\"}",
            headers: $"Content-Type: {Structured}");
        var events = await brokers.AskAsync(
            "GET", $"/v1/topics/{topic}/records?linearizable=true", headers: $"Accept: {Batched}");
        Assert.Equal(3, events.GetArrayLength());
        Assert.Equal(picture, events[0].GetProperty("data_base64").GetBytesFromBase64());
        Assert.Equal("image/png", Text(events[0], "datacontenttype"));
        Assert.Equal("Grüße", Text(events[1], "data"));
        Assert.False(events[2].TryGetProperty("data", out _));
        using var text = await brokers.SendAsync("GET", $"/v1/topics/{topic}/records/1");
        Assert.Equal("Grüße", Encoding.UTF8.GetString(await text.Content.ReadAsByteArrayAsync(Test)));
    }

    [Fact]
    public async Task A_record_that_was_no_event_is_read_as_one()
    {
        var topic = NewName("http.plain");
        var ack = await brokers.AskAsync("POST", $"/v1/topics/{topic}/records?key=k", "hello", headers:
            "Content-Type: text/plain");
        var made = (await brokers.AskAsync("GET", $"/v1/topics/{topic}/records", headers: $"Accept: {Batched}"))[0];
        Assert.Equal($"{Text(ack, "topic_id")}-0-0", Text(made, "id"));
        Assert.Equal($"/topics/{topic}", Text(made, "source"));
        Assert.Equal("broker.record", Text(made, "type"));
        Assert.Equal("hello", Text(made, "data"));
        Assert.Equal("k", Text(made, "partitionkey"));
    }

    [Theory]
    [InlineData("", "required attribute", "ce-specversion: 1.0", "ce-id: 1", "ce-type: t")]
    [InlineData("", "no ce-specversion", "ce-id: 1")]
    [InlineData("", "expected '1.0'", "ce-specversion: 7")]
    [InlineData("{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}", "source", "Content-Type: " + Structured)]
    [InlineData("{", "not a CloudEvent", "Content-Type: " + Structured)]
    [InlineData("[1]", "not a CloudEvent", "Content-Type: " + Batched)]
    [InlineData("[{\"specversion\":\"1.0\"}]", "not a CloudEvent", "Content-Type: " + Batched)]
    public async Task What_is_no_event_is_refused_with_what_it_lacks(string body, string words, params string[] headers)
    {
        var refused = await brokers.AskAsync(
            "POST", $"/v1/topics/{NewName("http.none")}/records", body, 400, headers: headers);
        Assert.Contains(words, Text(refused, "detail"), StringComparison.OrdinalIgnoreCase);
        Assert.Equal("INVALID_REQUEST", Text(refused, "reason"));
    }

    private static string Event(int number) =>
        "{\"specversion\":\"1.0\",\"id\":\"" + number + "\",\"source\":\"/tests\",\"type\":\"made\","
        + "\"subject\":\"Grüße\",\"partitionkey\":\"k\",\"data\":{\"n\":" + number + "}}";

    private static void AssertIs(int number, JsonElement made)
    {
        Assert.Equal("1.0", Text(made, "specversion"));
        Assert.Equal($"{number}", Text(made, "id"));
        Assert.Equal("/tests", Text(made, "source"));
        Assert.Equal("made", Text(made, "type"));
        Assert.Equal("Grüße", Text(made, "subject"));
        Assert.Equal("k", Text(made, "partitionkey"));
        Assert.Equal("application/json", Text(made, "datacontenttype"));
        Assert.Equal(number, Number(made.GetProperty("data"), "n"));
    }
}
