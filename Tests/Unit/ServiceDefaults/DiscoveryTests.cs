using System.Net;
using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Discovery;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class DiscoveryTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void Addresses_come_in_the_order_of_their_numbers()
    {
        var configuration = Configuration(
            ("services:broker-1:grpc:10", "http://localhost:7010"),
            ("services:broker-1:grpc:2", "http://localhost:7002"),
            ("services:broker-1:http:0", "http://localhost:8001"));

        Assert.Equal(
            [new Uri("http://localhost:7002"), new Uri("http://localhost:7010")],
            ServiceEndpoints.Resolve(configuration, "broker-1", "grpc"));
        Assert.Empty(ServiceEndpoints.Resolve(configuration, "broker-2", "grpc"));
        Assert.Equal(["broker-1"], ServiceEndpoints.ServicesWith(configuration, "grpc"));
    }

    [Fact]
    public void A_malformed_address_is_told_with_its_setting()
    {
        var configuration = Configuration(("services:broker-1:grpc:0", "localhost:7002"));

        var failure = Assert.Throws<StartupException>(
            () => ServiceEndpoints.Resolve(configuration, "broker-1", "grpc"));
        Assert.Contains("services:broker-1:grpc:0", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://_grpc.broker-1/a?b=c", "http://localhost:7001/a?b=c")]
    [InlineData("http://publisher/x", "http://localhost:8001/x")]
    [InlineData("https+http://publisher/x", "http://localhost:8001/x")]
    [InlineData("https+http://elsewhere:9/x", "https://elsewhere:9/x")]
    [InlineData("http://example.org/x", "http://example.org/x")]
    [InlineData("http://localhost:7001/x", "http://localhost:7001/x")]
    public async Task A_client_calls_services_by_name(string asked, string called)
    {
        var (client, calls) = Client(
            ("services:broker-1:grpc:0", "http://localhost:7001"),
            ("services:publisher:http:0", "http://localhost:8001"));
        using var response = await client.GetAsync(new Uri(asked), Cancellation);

        Assert.Equal([called], calls);
    }

    [Fact]
    public async Task Several_addresses_are_called_in_turn()
    {
        var (client, calls) = Client(
            ("services:publisher:http:0", "http://localhost:1"), ("services:publisher:http:1", "http://localhost:2"));
        for (var i = 0; i < 4; i++)
        {
            using var response = await client.GetAsync(new Uri("http://publisher/"), Cancellation);
        }

        Assert.Equal(["http://localhost:1/", "http://localhost:2/"], calls.Distinct().Order());
        Assert.Equal(calls[0], calls[2]);
    }

    [Fact]
    public async Task An_unknown_endpoint_of_a_service_is_told_with_the_missing_setting()
    {
        var (client, _) = Client();

        var failure = await Assert.ThrowsAsync<HttpRequestException>(
            () => client.GetAsync(new Uri("http://_grpc.broker-9/"), Cancellation));
        Assert.Contains("services__broker-9__grpc__0", failure.Message, StringComparison.Ordinal);
    }

    private static (HttpClient Client, List<string> Calls) Client(params (string Key, string Value)[] settings)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(Pairs(settings));
        builder.AddServiceDefaults();
        builder.Logging.ClearProviders();
        var calls = new List<string>();
        builder.Services.AddHttpClient("test").ConfigurePrimaryHttpMessageHandler(() => new Recorder(calls));
        return (builder.Build().Services.GetRequiredService<IHttpClientFactory>().CreateClient("test"), calls);
    }

    private static IConfiguration Configuration(params (string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(Pairs(settings)).Build();

    private static IEnumerable<KeyValuePair<string, string?>> Pairs((string Key, string Value)[] settings) =>
        settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value));

    private sealed class Recorder(List<string> calls) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            calls.Add(request.RequestUri!.AbsoluteUri);
            return Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK));
        }
    }
}
