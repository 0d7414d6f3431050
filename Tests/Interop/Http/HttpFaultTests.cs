using System.Net;
using System.Text;
using Broker.Tests.Scenarios;
using Xunit;
using static Broker.Tests.Interop.Http.HttpBrokers;

namespace Broker.Tests.Interop.Http;

/// <summary>Brokers die under calls by HTTP; and controllers, which hold no topics.</summary>
public sealed class HttpFaultTests
{
    private const string Topic = "http.faults";

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Nothing_is_lost_or_doubled_when_the_leader_is_killed_under_publishes_with_keys()
    {
        await using var brokers = new HttpBrokers();
        await brokers.InitializeAsync();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var acknowledged = 0;
        var publishers = Enumerable.Range(0, 4).Select(async publisher =>
        {
            var own = new List<string>();
            while (!stop.IsCancellationRequested)
            {
                var value = $"{publisher}-{own.Count}";
                await brokers.PublishOnceAsync(Topic, value, value, 1 + (publisher % 3), 1 + ((publisher + 1) % 3), 3);
                own.Add(value);
                Interlocked.Increment(ref acknowledged);
            }

            return own;
        }).ToArray();
        for (var round = 0; round < 3; round++)
        {
            await MoreAsync(60);
            var leader = await LeaderAsync(brokers);
            await brokers.Brokers.KillAsync(leader);
            await MoreAsync(60);
            brokers.Brokers.Start(leader);
            await brokers.Brokers.BecomeHealthyAsync(1, 2, 3);
        }

        await stop.CancelAsync();
        var expected = (await Task.WhenAll(publishers)).SelectMany(static each => each).ToList();
        var stored = new List<string>();
        for (long next = 0, end = 1; next < end;)
        {
            var page = await brokers.AskAsync(
                "GET", $"/v1/topics/{Topic}/records?from={next}&max=1000&linearizable=true", node: 2);
            stored.AddRange(page.GetProperty("records").EnumerateArray().Select(static each => Text(each, "value")));
            (next, end) = (Number(page, "next_offset"), Number(page, "end_offset"));
        }

        TestContext.Current.TestOutputHelper!.WriteLine($"{expected.Count} records, three leaders killed");
        Assert.Equal(expected.Order(StringComparer.Ordinal), stored.Order(StringComparer.Ordinal));

        // Each publisher's records stand in the order in which it got its answers.
        foreach (var own in stored.GroupBy(static value => value[0]))
        {
            Assert.Equal(own.Select((_, at) => $"{own.Key}-{at}"), own);
        }

        async Task MoreAsync(int count)
        {
            var before = Volatile.Read(ref acknowledged);
            await Brokers.UntilAsync(
                () => Task.FromResult(Volatile.Read(ref acknowledged) >= before + count),
                () => $"{count} more publishes are answered, after {before}");
        }
    }

    [Fact]
    public async Task A_controller_serves_by_HTTP_what_data_nodes_have()
    {
        await using var brokers = new Brokers(founders: 2, shards: 2)
        {
            Roles = new Dictionary<int, string> { [1] = "controller", [2] = "data" },
        };
        await brokers.FormAsync();
        await brokers.HaveRolesAsync([1, 2], [1], [2]);
        using var http = new HttpClient { BaseAddress = brokers.HttpOf(1), Timeout = TimeSpan.FromMinutes(1) };
        var topic = Uri.EscapeDataString("of/controllers%2F");
        using (var answer = await http.PostAsync($"/v1/topics/{topic}/records", new StringContent("hello"), Test))
        {
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Test));
        }

        Assert.Contains(
            "\"value\":\"hello\"",
            await http.GetStringAsync($"/v1/topics/{topic}/records?linearizable=true", Test),
            StringComparison.Ordinal);
        await using (var client = brokers.Connect(2))
        {
            Assert.Equal("of/controllers%2F", (await client.DescribeTopicAsync("of/controllers%2F", Test)).Topic.Name);
        }

        // What it is asked about itself it says itself; a refusal comes as the data node worded it.
        Assert.Contains("\"this_node\":1", await http.GetStringAsync("/v1/cluster", Test), StringComparison.Ordinal);
        using (var missing = await http.GetAsync("/v1/topics/missing", Test))
        {
            Assert.Equal(HttpStatusCode.NotFound, missing.StatusCode);
            AssertIsProblem(missing, await missing.Content.ReadAsStringAsync(Test));
        }

        using (var wrong = await http.PutAsync("/v1/topics/missing", null, Test))
        {
            Assert.Equal(HttpStatusCode.MethodNotAllowed, wrong.StatusCode);
            Assert.Contains("GET", wrong.Content.Headers.Allow);
        }

        // A stream passes through as it comes.
        using (var stream = await http.GetAsync(
            $"/v1/subscribe?filter={topic}&from=beginning", HttpCompletionOption.ResponseHeadersRead, Test))
        {
            using var reader = new StreamReader(await stream.Content.ReadAsStreamAsync(Test), Encoding.UTF8);
            string? line;
            do
            {
                line = await reader.ReadLineAsync(Test);
            }
            while (line?.StartsWith("data: ", StringComparison.Ordinal) == false);
            Assert.Contains("\"value\":\"hello\"", line, StringComparison.Ordinal);
        }

        // Without a data node it says so, and whom to ask.
        await brokers.KillAsync(2);
        await Brokers.UntilAsync(
            async () =>
            {
                using var alone = await http.GetAsync("/v1/topics", Test);
                var text = await alone.Content.ReadAsStringAsync(Test);
                return alone.StatusCode == HttpStatusCode.ServiceUnavailable
                    && alone.Content.Headers.ContentType?.MediaType == "application/problem+json"
                    && text.Contains(
                        $"broker-2 at {brokers.GrpcOf(2).ToString().TrimEnd('/')}", StringComparison.Ordinal);
            },
            static () => "the controller says that it reaches no data node");
    }

    private static async Task<int> LeaderAsync(HttpBrokers brokers)
    {
        var leader = 0;
        await Brokers.UntilAsync(
            async () =>
            {
                var topic = await brokers.AskAsync("GET", $"/v1/topics/{Topic}?linearizable=true", node: 2);
                leader = (int)Number(topic.GetProperty("partitions")[0], "leader");
                return leader > 0;
            },
            static () => "somebody leads");
        return leader;
    }
}
