using Broker.Api;
using Broker.Cluster;
using Broker.Storage;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.Unit.Api;

/// <summary>A node in somebody else's process: nothing of that process reaches it.</summary>
public sealed class NodeSurroundingsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-surroundings-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task Settings_files_log_and_signals_of_the_process_are_not_the_nodes()
    {
        await File.WriteAllTextAsync(
            Path.Combine(_folder.FullName, ".env"),
            "Broker__DataShards=7\nConnectionStrings__cache=localhost:1\n",
            TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(
            Path.Combine(_folder.FullName, "appsettings.json"),
            """{ "Broker": { "DataShards": 9, "EvictAfter": "00:10:00" } }""",
            TestContext.Current.CancellationToken);
        var settings = new Dictionary<string, string?>
        {
            ["Urls"] = "http://localhost:1",
            ["Broker:DataDirectory"] = Path.Combine(_folder.FullName, "data"),
            ["Broker:DataShards"] = "2",
        };
        var providers = -1;

        await using var app = BrokerHost.Build(
            ["--contentRoot", _folder.FullName],
            new NodeSurroundings(
                new PhysicalDevice(), TimeProvider.System, settings, logging => providers = logging.Services.Count(
                    static service => service.ServiceType == typeof(ILoggerProvider))));

        var options = app.Services.GetRequiredService<ClusterOptions>();
        Assert.Equal((2, null), (options.DataShards, options.EvictAfter));
        Assert.Null(app.Configuration.GetConnectionString("cache"));
        Assert.Equal(0, providers);
        Assert.Equal("NoSignals", app.Services.GetRequiredService<IHostLifetime>().GetType().Name);
    }
}
