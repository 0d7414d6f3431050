using System.Net;
using System.Net.Http.Headers;
using Broker.Client;
using Broker.Cluster;
using Broker.ServiceDefaults;
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
    public void Services_and_their_addresses_come_in_the_order_of_their_numbers()
    {
        var services = DiscoveredService.ReadAll(Configuration(
            ("services:broker-10:grpc:0", "http://localhost:7010"),
            ("services:broker-2:grpc:10", "http://localhost:7003"),
            ("services:broker-2:grpc:2", "http://localhost:7002"),
            ("services:broker-1:http:0", "http://localhost:8001")));

        Assert.Equal(["broker-2", "broker-10"], services.Select(service => service.Name));
        Assert.Equal(
            [new Uri("http://localhost:7002"), new Uri("http://localhost:7003")], services[0].Addresses);
        Assert.Equal(("broker-", 10), (services[1].Family, services[1].Number));
    }

    [Fact]
    public void A_malformed_address_is_told_with_its_setting_to_client_and_broker()
    {
        var configuration = Configuration(("services:broker-1:grpc:0", "localhost:7002"));

        var toClient = Assert.Throws<InvalidOperationException>(
            () => BrokerClientOptions.FromConfiguration(configuration, "broker"));
        var toBroker = Assert.Throws<StartupException>(() => ClusterOptions.From(configuration));
        Assert.All([toClient, toBroker], (Exception failure) => Assert.Contains(
            "services__broker-1__grpc__0 is 'localhost:7002'", failure.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Peers_are_reached_at_their_endpoint_for_that_or_at_the_port_for_grpc_and_a_thousand()
    {
        var nodes = ClusterOptions.From(Configuration(
            ("Broker:NodeName", "broker-2"),
            ("Broker:PeerPort", "9009"),
            ("services:broker-1:grpc:0", "http://a:7001"),
            ("services:broker-1:peer:0", "http://b:9001"),
            ("services:broker-2:grpc:0", "http://a:7002"),
            ("services:broker-3:grpc:0", "http://a:7003"))).Nodes;

        Assert.Equal(
            ["http://b:9001/", "http://a:9009/", "http://a:8003/"], nodes.Select(static node => $"{node.Address}"));
        Assert.Equal(
            ["http://a:7001", "http://a:7002", "http://a:7003"], nodes.Select(static node => node.ClientAddressText));
    }

    [Fact]
    public void The_port_for_peers_follows_from_that_for_grpc() => Assert.Equal(
        [0, 1001, 8001, 65535, 63536, 64535],
        new[] { 0, 1, 7001, 64535, 64536, 65535 }.Select(ClusterOptions.PeerPortOf));

    [Theory]
    [InlineData("http://_grpc.broker-1/a?b=c", "http://localhost:7001/a?b=c")]
    [InlineData("http://publisher/x", "http://localhost:8001/x")]
    [InlineData("https+http://publisher/x", "http://localhost:8001/x")]
    [InlineData("http://localhost:7001/x", "http://localhost:7001/x")]
    public async Task A_client_calls_services_by_name(string asked, string called)
    {
        var (client, calls) = Client(
            HttpStatusCode.OK,
            ("services:broker-1:grpc:0", "http://localhost:7001"),
            ("services:publisher:http:0", "http://localhost:8001"));
        using var response = await client.GetAsync(new Uri(asked), Cancellation);

        Assert.Equal([called], calls);
    }

    [Fact]
    public async Task What_may_be_repeated_is_tried_again_and_a_POST_is_not()
    {
        var (client, calls) = Client(HttpStatusCode.ServiceUnavailable);
        using var get = await client.GetAsync(new Uri("http://localhost:1/get"), Cancellation);
        using var post = await client.PostAsync(new Uri("http://localhost:1/post"), null, Cancellation);

        Assert.Equal(4, calls.Count(call => call.EndsWith("/get", StringComparison.Ordinal)));
        Assert.Single(calls, call => call.EndsWith("/post", StringComparison.Ordinal));
    }

    private static (HttpClient Client, List<string> Calls) Client(
        HttpStatusCode status, params (string Key, string Value)[] settings)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(Pairs(settings));
        builder.AddServiceDefaults();
        builder.Logging.ClearProviders();
        var calls = new List<string>();
        builder.Services.AddHttpClient("test").ConfigurePrimaryHttpMessageHandler(() => new Recorder(calls, status));
        return (builder.Build().Services.GetRequiredService<IHttpClientFactory>().CreateClient("test"), calls);
    }

    private static IConfiguration Configuration(params (string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(Pairs(settings)).Build();

    private static IEnumerable<KeyValuePair<string, string?>> Pairs((string Key, string Value)[] settings) =>
        settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value));

    private sealed class Recorder(List<string> calls, HttpStatusCode status) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            calls.Add(request.RequestUri!.AbsoluteUri);
            var response = new HttpResponseMessage(status);
            // The wait before the next attempt, which a server may name.
            response.Headers.RetryAfter = new RetryConditionHeaderValue(TimeSpan.Zero);
            return Task.FromResult(response);
        }
    }
}
