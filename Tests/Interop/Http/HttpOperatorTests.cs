using System.Net;
using System.Text.Json;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;

namespace Broker.Tests.Interop.Http;

/// <summary>Groups, topics and the cluster by HTTP: every address of the contract's calls.</summary>
[Collection(HttpCollection.Name)]
public sealed class HttpOperatorTests(HttpBrokers brokers)
{
    [Fact]
    public async Task A_group_is_worked_on_from_its_making_to_its_end()
    {
        var (topic, group) = (NewName("http.work"), NewName("work"));
        await brokers.AskAsync("POST", $"/v1/topics/{topic}/records:batch", new
        {
            records = Enumerable.Range(0, 6).Select(static number => new { key = $"k{number}", value = $"{number}" }),
        });
        var made = await brokers.AskAsync(
            "POST",
            "/v1/groups",
            new { name = group, config = new { filters = new[] { topic }, ack_wait_ms = 60_000 } });
        Assert.Equal(60_000, Number(made.GetProperty("config"), "ack_wait_ms"));

        // Of six records two are acknowledged, one comes again later, one is kept longer, and two are given up.
        var delivery = await FetchAsync(group, 6, node: 2);
        Assert.Equal("k0", Text(delivery.GetProperty("records")[0], "key"));
        Assert.Equal("0", Text(delivery.GetProperty("records")[0], "value"));
        var token = Text(delivery, "token");
        object Range(int first, int count) => new[] { new { token, first, count } };
        var settled = await brokers.AskAsync("POST", $"/v1/groups/{group}:settle", new
        {
            settlements = new object[]
            {
                new { ack = new { ranges = Range(0, 2) } },
                new { nack = new { ranges = Range(2, 1), delay_ms = 600_000 } },
                new { extend = new { ranges = Range(3, 1), lease_ms = 900_000 } },
                new { terminate = new { ranges = Range(4, 2), reason = "not wanted" } },
            },
        });
        Assert.All(
            settled.GetProperty("results").EnumerateArray(), static each => Assert.Equal(0, Number(each, "status")));
        Assert.Equal("2", await OffsetsAsync(group, "delayed"));
        Assert.Equal("3", await OffsetsAsync(group, "outstanding"));
        Assert.Equal("", await OffsetsAsync(group, "DELIVERY_STATE_WAITING"));
        Assert.Equal("4 5", await OffsetsAsync(group, "dead"));

        // One dead letter is delivered again, the other goes for good.
        var dead = await brokers.AskAsync("GET", $"/v1/groups/{group}/dead-letters", node: 3);
        var letters = dead.GetProperty("dead_letters").EnumerateArray()
            .OrderBy(static each => Number(each, "offset")).ToArray();
        Assert.Equal("not wanted", Text(letters[0], "reason"));
        Assert.Equal("4", Text(letters[0].GetProperty("record"), "value"));
        var redriven = await brokers.AskAsync(
            "POST",
            $"/v1/groups/{group}/dead-letters:redrive",
            new { positions = new[] { letters[0].GetProperty("position") } });
        Assert.Equal(1, Number(redriven, "count"));
        Assert.Equal("4", Text((await FetchAsync(group, 1)).GetProperty("records")[0], "value"));
        var purged = await brokers.AskAsync("POST", $"/v1/groups/{group}/dead-letters:purge", node: 2);
        Assert.Equal(1, Number(purged, "count"));

        // Paused it gets nothing; resumed and set back to the beginning everything again.
        await brokers.AskAsync("POST", $"/v1/groups/{group}:pause", node: 3);
        for (var node = 1; node <= 3; node++)
        {
            await Eventually.HoldsAsync(
                async () => (await GroupAsync(group, node)).GetProperty("paused").GetBoolean(),
                () => $"broker {node} knows that {group} is paused",
                60);
        }

        await brokers.AskAsync(
            "POST", $"/v1/groups/{group}:seek", new { topic, position = "START_POSITION_BEGINNING" });
        var nothing = await brokers.AskAsync("POST", $"/v1/groups/{group}:fetch", new { wait_ms = 500 });
        Assert.Equal(0, nothing.GetProperty("deliveries").GetArrayLength());
        await brokers.AskAsync("POST", $"/v1/groups/{group}:resume");
        Assert.Equal(6, Number(await FetchAsync(group, 6), "count"));
        var changed = await brokers.AskAsync(
            "PATCH", $"/v1/groups/{group}", new { config = new { max_deliveries = 3 } }, node: 2);
        Assert.Equal(3, Number(changed.GetProperty("config"), "max_deliveries"));
        Assert.Equal(60_000, Number(changed.GetProperty("config"), "ack_wait_ms"));
        Assert.Contains(
            (await brokers.AskAsync("GET", $"/v1/groups?prefix={group}&figures=true")).GetProperty("groups")
                .EnumerateArray(),
            each => Text(each, "name") == group);
        await brokers.AskAsync("DELETE", $"/v1/groups/{group}");
        var gone = await brokers.AskAsync("DELETE", $"/v1/groups/{group}", status: 404);
        Assert.Equal("NOT_FOUND", Text(gone, "reason"));

        // What was settled meanwhile by somebody else is told, record by record.
        var lost = await brokers.AskAsync("POST", $"/v1/groups/{group}:settle", new
        {
            settlements = new object[] { new { ack = new { ranges = Range(3, 1) } } },
        });
        Assert.NotEqual(0, Number(lost.GetProperty("results")[0], "status"));
    }

    [Fact]
    public async Task A_topic_is_made_changed_purged_and_deleted()
    {
        var topic = NewName("http.topic");
        var made = await brokers.AskAsync(
            "POST", "/v1/topics", new { name = topic, config = new { max_records = 100, partitions = 2 } }, node: 3);
        Assert.Equal(100, Number(made.GetProperty("config"), "max_records"));
        Assert.Equal(2, Number(made.GetProperty("config"), "partitions"));
        var changed = await brokers.AskAsync(
            "PATCH", $"/v1/topics/{topic}", new { config = new { max_age_ms = "86400000" } }, node: 2);
        Assert.Equal(86_400_000, Number(changed.GetProperty("config"), "max_age_ms"));
        for (var number = 0; number < 4; number++)
        {
            await brokers.AskAsync("POST", $"/v1/topics/{topic}/records?partition=1", $"{number}");
        }

        var purged = await brokers.AskAsync(
            "POST", $"/v1/topics/{topic}:purge", new { partition = 1, before_offset = 3 }, node: 3);
        Assert.Equal(3, purged.GetProperty("first_offsets")[0].GetInt64());
        var described = await brokers.AskAsync("GET", $"/v1/topics/{topic}?linearizable=true", node: 2);
        Assert.Equal(3, Number(described.GetProperty("partitions")[1], "first_offset"));
        Assert.Equal(4, Number(described.GetProperty("partitions")[1], "next_offset"));
        var listed = await brokers.AskAsync("GET", $"/v1/topics?filter={topic}&page_size=5");
        Assert.Equal(topic, Text(Assert.Single(listed.GetProperty("topics").EnumerateArray()), "name"));
        Assert.Equal("", Text(listed, "next_page_token"));
        using var gone = await brokers.SendAsync("GET", $"/v1/topics/{topic}/records/0?partition=1");
        Assert.Equal(404, (int)gone.StatusCode);
        await brokers.AskAsync("DELETE", $"/v1/topics/{topic}");
        Assert.Equal("NOT_FOUND", Text(await brokers.AskAsync("DELETE", $"/v1/topics/{topic}", status: 404), "reason"));
    }

    [Fact]
    public async Task Templates_and_auto_create_say_what_topics_come_to_be()
    {
        var prefix = NewName("http.made");
        var filter = Uri.EscapeDataString($"{prefix}.>");
        await brokers.AskAsync("PUT", $"/v1/topic-templates/{filter}", new { config = new { max_records = 7 } });
        for (var node = 1; node <= 3; node++)
        {
            // A broker uses a template when it has heard of it.
            await Eventually.HoldsAsync(
                async () => (await brokers.AskAsync("GET", "/v1/topic-templates", node: node)).GetProperty("templates")
                    .EnumerateArray().Any(each => Text(each, "filter") == $"{prefix}.>"),
                () => $"broker {node} knows the template",
                60);
        }

        await brokers.AskAsync("POST", $"/v1/topics/{prefix}.a/records", "x", node: 2);
        var made = await brokers.AskAsync("GET", $"/v1/topics/{prefix}.a?linearizable=true", node: 3);
        Assert.Equal(7, Number(made.GetProperty("config"), "max_records"));
        await brokers.AskAsync("PUT", "/v1/auto-create", new { enabled = false });
        try
        {
            var tries = 0;
            await Eventually.HoldsAsync(
                async () =>
                {
                    using var answer = await brokers.SendAsync(
                        "POST", $"/v1/topics/{prefix}.b{tries++}/records", "x", node: 2);
                    var text = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
                    return answer.StatusCode == HttpStatusCode.NotFound
                        && Text(AssertIsProblem(answer, text), "reason") == "AUTO_CREATE_OFF";
                },
                static () => "a publish to an unknown name is refused",
                60);
        }
        finally
        {
            await brokers.AskAsync("PUT", "/v1/auto-create", new { enabled = true });
        }

        await brokers.AskAsync("DELETE", $"/v1/topic-templates/{filter}");
    }

    [Fact]
    public async Task The_cluster_is_described_and_led()
    {
        var server = await brokers.AskAsync("GET", "/v1/server", node: 2);
        Assert.Contains(
            "http", server.GetProperty("features").EnumerateArray().Select(static each => each.GetString()));
        Assert.Equal(1024 * 1024, Number(server.GetProperty("limits"), "message_bytes"));
        var cluster = await brokers.AskAsync("GET", "/v1/cluster");
        Assert.Equal(3, cluster.GetProperty("nodes").GetArrayLength());
        var leader = Number(cluster.GetProperty("shards")[1], "leader");
        var next = 1 + (leader % 3);
        var moved = await brokers.AskAsync("POST", "/v1/cluster/shards/1:transfer", new { to_node = next });
        Assert.Equal(next, Number(moved, "leader"));

        // A node that drains leads nothing.
        var drained = await brokers.AskAsync("POST", $"/v1/cluster/nodes/{next}:drain", node: 3);
        Assert.Equal(0, drained.GetProperty("shards_left").GetArrayLength());
        await brokers.AskAsync("POST", $"/v1/cluster/nodes/{next}:undrain");
        var unknown = await brokers.AskAsync("POST", "/v1/cluster/nodes/77:drain", status: 404);
        Assert.Equal("NOT_FOUND", Text(unknown, "reason"));
        var nobody = await brokers.AskAsync(
            "POST", "/v1/cluster/nodes", new { name = "broker-9", address = "http://127.0.0.1:9" }, 503);
        Assert.Equal("NODE_UNREACHABLE", Text(nobody, "reason"));
        await brokers.AskAsync("DELETE", "/v1/cluster/nodes/0", status: 400);
    }

    private async Task<JsonElement> FetchAsync(string group, int count, int node = 1)
    {
        JsonElement fetched = default;
        await Eventually.HoldsAsync(
            async () =>
            {
                fetched = await brokers.AskAsync(
                    "POST", $"/v1/groups/{group}:fetch", new { wait_ms = 5_000, max_records = 100 }, node: node);
                return fetched.GetProperty("deliveries").GetArrayLength() > 0;
            },
            () => $"something is delivered to {group}",
            60);
        var delivery = Assert.Single(fetched.GetProperty("deliveries").EnumerateArray());
        Assert.Equal(count, Number(delivery, "count"));
        return delivery;
    }

    private async Task<string> OffsetsAsync(string group, string state) => string.Join(
        ' ',
        (await brokers.AskAsync("GET", $"/v1/groups/{group}/records?state={state}")).GetProperty("records")
            .EnumerateArray().Select(static each => Number(each, "offset")).Order());

    private async Task<JsonElement> GroupAsync(string group, int node) =>
        (await brokers.AskAsync("GET", $"/v1/groups/{group}", node: node)).GetProperty("group");
}
