using System.Text.Json;
using Broker.Client;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>The real Prometheus scrapes the real services.</summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class ObservabilityTests(BrokerSystem fixture)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task Prometheus_has_scraped_every_service()
    {
        using var timeout = new CancellationTokenSource(Limit);
        await WaitForAsync("up == 1", 5, timeout.Token);
    }

    [Theory]
    [InlineData("broker_topics_published_messages_total > 0")]
    [InlineData("rate(broker_topics_published_messages_total[1m]) >= 0")]
    [InlineData("histogram_quantile(0.99, rate(broker_replication_commit_duration_seconds_bucket[1m])) > 0")]
    [InlineData("broker_consensus_term >= 1")]
    [InlineData("broker_consensus_leader >= 1")]
    public async Task Prometheus_knows_the_figures_that_an_operator_asks_for(string query)
    {
        using var timeout = new CancellationTokenSource(Limit);
        var message = new BrokerMessage { Value = "observed"u8.ToArray() };
        for (var i = 0; i < 20; i++)
        {
            await fixture.System.Client.PublishAsync($"e2e.observed.{i}", message, timeout.Token);
        }

        await WaitForAsync(query, 1, timeout.Token);
    }

    private async Task WaitForAsync(string query, int series, CancellationToken cancellationToken)
    {
        using var http = new HttpClient { BaseAddress = fixture.System.Endpoint("prometheus", "http") };
        var found = 0;
        while (found < series)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(500), cancellationToken);
            var answer = await http.GetStringAsync(
                $"/api/v1/query?query={Uri.EscapeDataString(query)}", cancellationToken);
            using var json = JsonDocument.Parse(answer);
            found = json.RootElement.GetProperty("data").GetProperty("result").GetArrayLength();
        }

        Assert.True(found >= series);
    }
}
