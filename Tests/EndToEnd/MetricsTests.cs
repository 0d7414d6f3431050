using System.Diagnostics;
using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>Prometheus' own checker reads what the running services give out.</summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class MetricsTests(BrokerSystem fixture)
{
    public static TheoryData<string> Services => [.. RunningSystem.Brokers, "publisher", "subscriber"];

    [Theory]
    [MemberData(nameof(Services))]
    public async Task Promtool_accepts_the_metrics_of_every_service(string service)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await fixture.System.Client.PublishAsync("e2e.metrics", new() { Value = "counted"u8.ToArray() }, timeout.Token);
        using var http = fixture.System.CreateHttpClient(service);

        // A service tells a figure once it has something to count: the subscriber, when the message has reached it.
        string metrics;
        while (!(metrics = await http.GetStringAsync(new Uri("/metrics", UriKind.Relative), timeout.Token))
            .Contains("# TYPE broker_", StringComparison.Ordinal))
        {
            await Task.Delay(100, timeout.Token);
        }

        var start = new ProcessStartInfo("promtool", ["check", "metrics"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var promtool = Process.Start(start)!;
        var output = promtool.StandardOutput.ReadToEndAsync(timeout.Token);
        var errors = promtool.StandardError.ReadToEndAsync(timeout.Token);
        await promtool.StandardInput.WriteAsync(metrics.AsMemory(), timeout.Token);
        promtool.StandardInput.Close();
        await promtool.WaitForExitAsync(timeout.Token);

        Assert.True(promtool.ExitCode == 0, await output + await errors);
    }
}
