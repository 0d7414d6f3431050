using System.Text.Json;
using Xunit;

namespace Broker.Tests.EndToEnd;

[Collection(BrokerSystemCollection.Name)]
public sealed class SystemStartTests(BrokerSystem system)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_service_answers_its_health_check()
    {
        foreach (var name in (string[])[.. BrokerSystem.Brokers, "publisher", "subscriber"])
        {
            using var client = system.CreateHttpClient(name);
            using var answer = await client.GetAsync(new Uri("/health", UriKind.Relative), Cancel);
            Assert.True(answer.IsSuccessStatusCode, $"{name} answers {answer.StatusCode}");
        }
    }

    [Fact]
    public async Task Prometheus_scrapes_every_service()
    {
        using var client = system.CreateHttpClient("prometheus");
        var deadline = DateTimeOffset.UtcNow.AddSeconds(60);
        string[] expected = [.. BrokerSystem.Brokers, "publisher", "subscriber"];
        List<string> up = [];
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        while (up.Count < expected.Length && DateTimeOffset.UtcNow < deadline &&
            await timer.WaitForNextTickAsync(Cancel))
        {
            using var answer = JsonDocument.Parse(
                await client.GetStringAsync(new Uri("/api/v1/query?query=up==1", UriKind.Relative), Cancel));
            up = [.. answer.RootElement.GetProperty("data").GetProperty("result").EnumerateArray()
                .Select(r => r.GetProperty("metric").GetProperty("instance").GetString()!)];
        }

        Assert.Equal(expected.Order(), up.Order());
    }

    [Fact]
    public async Task A_killed_subscriber_comes_back_at_its_old_address()
    {
        var address = system.Http("subscriber");
        var first = system.ProcessIdOf("subscriber");
        await system.KillAsync("subscriber", Cancel);
        await system.StartAsync("subscriber", Cancel);
        Assert.Equal(address, system.Http("subscriber"));
        Assert.NotEqual(first, system.ProcessIdOf("subscriber"));
    }
}
