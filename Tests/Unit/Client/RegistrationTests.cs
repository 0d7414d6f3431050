using System.Reflection;
using System.Text.Json;
using Broker.Aspire.Client;
using Broker.Client;
using Broker.Tests.Unit.Tidy;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using Xunit;

namespace Broker.Tests.Unit.Client;

/// <summary>The client in a program with a host: configuration, keyed clients, health, telemetry.</summary>
public sealed class RegistrationTests
{
    private static readonly string[] SetInCode =
    [
        nameof(BrokerClientOptions.Serializer),
        nameof(BrokerClientOptions.Tls),
        nameof(BrokerClientOptions.Credentials),
    ];

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static IEnumerable<PropertyInfo> Settable => typeof(BrokerClientOptions)
        .GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(each => !SetInCode.Contains(each.Name));

    [Fact]
    public void Every_option_is_read_from_its_section_and_one_connection_s_section_stands_above()
    {
        var settings = Settable.ToDictionary(
            static each => each.Name == nameof(BrokerClientOptions.Addresses)
                ? "Aspire:Broker:Client:Addresses:0"
                : $"Aspire:Broker:Client:{each.Name}",
            static each => each.PropertyType == typeof(TimeSpan) ? "00:00:01.5"
                : each.PropertyType == typeof(string) ? "somebody"
                : each.Name == nameof(BrokerClientOptions.Addresses) ? "http://a:1"
                : (string?)"7");
        settings["Aspire:Broker:Client:messaging:BatchRecords"] = "8";

        var options = BrokerClientOptions.FromConfiguration(Configuration(settings), "messaging");

        var defaults = new BrokerClientOptions();
        Assert.All(Settable, each => Assert.NotEqual(each.GetValue(defaults), each.GetValue(options)));
        Assert.Equal((8, 7), (options.BatchRecords, options.MaxInFlightBatchesPerTopic));
    }

    [Theory]
    [InlineData("PublishTimeout", "soon")]
    [InlineData("BatchBytes", "3000000000")]
    [InlineData("ProducerId", "-1")]
    [InlineData("Addresses:0", "nowhere")]
    public void A_setting_that_cannot_be_read_is_named(string name, string value)
    {
        var error = Assert.Throws<InvalidOperationException>(() => BrokerClientOptions.FromConfiguration(
            Configuration(new() { [$"Aspire:Broker:Client:{name}"] = value })));

        Assert.Contains($"Aspire:Broker:Client:{name}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_integration_takes_the_connection_string_and_the_last_word_is_the_code_s()
    {
        var builder = Builder(new()
        {
            ["Aspire:Broker:Client:ConnectionString"] = "http://section:1",
            ["Aspire:Broker:Client:messaging:PublishTimeout"] = "00:00:05",
            ["ConnectionStrings:messaging"] = "http://localhost:2",
        });
        string? seen = null;
        BrokerClientOptions? built = null;
        builder.AddBrokerClient(
            "messaging",
            settings => seen = settings.ConnectionString,
            options => built = options with { ClientName = "of this test" });
        await using var services = builder.Services.BuildServiceProvider();

        Assert.Same(services.GetRequiredService<BrokerClient>(), services.GetRequiredService<IBrokerClient>());
        Assert.Equal("http://localhost:2", seen);
        Assert.Equal(
            ("http://localhost:2/", 5.0), (built!.Addresses.Single().AbsoluteUri, built.PublishTimeout.TotalSeconds));
    }

    [Fact]
    public async Task Two_clusters_have_a_keyed_client_and_a_health_check_each()
    {
        await using var alive = await FakeCluster.StartAsync();
        var builder = Builder(new()
        {
            ["ConnectionStrings:alive"] = alive.Addresses[0].AbsoluteUri,
            ["ConnectionStrings:dead"] = "http://127.0.0.1:1",
        });
        builder.AddKeyedBrokerClient("alive");
        builder.AddKeyedBrokerClient("dead");
        builder.AddKeyedBrokerClient("dead");
        await using var services = builder.Services.BuildServiceProvider();

        Assert.NotSame(
            services.GetRequiredKeyedService<IBrokerClient>("alive"),
            services.GetRequiredKeyedService<IBrokerClient>("dead"));
        Assert.Null(services.GetService<IBrokerClient>());
        var report = await services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Test);
        Assert.Equal(
            [("Broker.Client_alive", HealthStatus.Healthy), ("Broker.Client_dead", HealthStatus.Unhealthy)],
            report.Entries.Select(static each => (each.Key, each.Value.Status)).Order());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Health_traces_and_metrics_can_be_left_out(bool disabled)
    {
        var builder = Builder(new()
        {
            ["ConnectionStrings:messaging"] = "http://127.0.0.1:1",
            ["Aspire:Broker:Client:DisableHealthChecks"] = $"{disabled}",
            ["Aspire:Broker:Client:messaging:DisableTracing"] = $"{disabled}",
            ["Aspire:Broker:Client:DisableMetrics"] = $"{disabled}",
        });
        builder.AddBrokerClient("messaging");
        await using var services = builder.Services.BuildServiceProvider();

        Assert.Equal(disabled, services.GetService<HealthCheckService>() is null);
        Assert.Equal(disabled, services.GetService<TracerProvider>() is null);
        Assert.Equal(disabled, services.GetService<MeterProvider>() is null);
    }

    [Fact]
    public void The_schema_of_the_integration_names_every_setting_and_no_other()
    {
        using var schema = JsonDocument.Parse(File.ReadAllText(
            Path.Combine(SourceFile.Root(), "AspireClient", "ConfigurationSchema.json")));
        var client = schema.RootElement.GetProperty("properties").GetProperty("Aspire").GetProperty("properties")
            .GetProperty("Broker").GetProperty("properties").GetProperty("Client");

        var expected = Settable.Concat(typeof(BrokerClientSettings).GetProperties())
            .Select(static each => each.Name).Order(StringComparer.Ordinal).ToList();
        Assert.Equal(expected, Names(client));
        Assert.Equal(expected, Names(client.GetProperty("additionalProperties")));

        static IEnumerable<string> Names(JsonElement part) => part.GetProperty("properties").EnumerateObject()
            .Select(static each => each.Name).Order(StringComparer.Ordinal);
    }

    private static IConfiguration Configuration(Dictionary<string, string?> settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings).Build();

    private static HostApplicationBuilder Builder(Dictionary<string, string?> settings)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(settings);
        return builder;
    }
}
