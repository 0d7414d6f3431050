using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

[Collection(BrokerSystemCollection.Name)]
public sealed class SystemStartTests(BrokerSystem fixture)
{
    private readonly RunningSystem _system = fixture.System;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_service_answers_its_health_check()
    {
        foreach (var name in (string[])[.. RunningSystem.Brokers, "publisher", "subscriber"])
        {
            using var client = _system.CreateHttpClient(name);
            using var answer = await client.GetAsync(new Uri("/health", UriKind.Relative), Cancel);
            Assert.True(answer.IsSuccessStatusCode, $"{name} answers {answer.StatusCode}");
        }
    }

    [Fact]
    public async Task A_killed_subscriber_comes_back_at_its_old_address()
    {
        var address = _system.Endpoint("subscriber", "http");
        var first = _system.ProcessIdOf("subscriber");
        await _system.KillAsync("subscriber", Cancel);
        await _system.StartResourceAsync("subscriber", Cancel);
        Assert.Equal(address, _system.Endpoint("subscriber", "http"));
        Assert.NotEqual(first, _system.ProcessIdOf("subscriber"));
    }
}
