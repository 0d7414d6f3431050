using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Broker.Client;
using Broker.Client.Connections;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

/// <summary>What a program hears of connections, and how they are made: TLS, credentials.</summary>
public sealed class ConnectionTests
{
    private static readonly Uri Somewhere = new("http://localhost:1");

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_broker_that_comes_goes_and_comes_back_is_told_in_this_order()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster, options => options with { PublishTimeout = TimeSpan.FromMinutes(1) });
        await using var events = client.WatchConnectionsAsync(Test).GetAsyncEnumerator(Test);
        var address = cluster.Nodes[0].Address;
        await client.PublishAsync("t", Message("1"), Test);
        await NextAsync(events, address, BrokerConnectionState.Connected);

        await cluster.Nodes[0].DisposeAsync();
        var publish = client.PublishAsync("t", Message("2"), Test).AsTask();
        var lost = await NextAsync(events, address, BrokerConnectionState.Lost);
        Assert.NotEmpty(lost.Reason);

        cluster.Nodes[0] = await FakeBroker.StartAsync(cluster, 0, address.Port);
        await publish;
        await NextAsync(events, address, BrokerConnectionState.Reconnected);
        Assert.Equal(["1", "2"], cluster.Values("t"));

        // Who comes late hears how it stands; who listens when the client ends hears no more.
        await using var late = client.WatchConnectionsAsync(Test).GetAsyncEnumerator(Test);
        await NextAsync(late, address, BrokerConnectionState.Reconnected);
        await client.DisposeAsync();
        Assert.False(await events.MoveNextAsync());
        Assert.False(await late.MoveNextAsync());
    }

    [Fact]
    public async Task A_broker_that_was_never_reached_is_lost_and_its_first_answer_is_no_return()
    {
        var watchers = new ConnectionWatchers(TimeProvider.System, NullLogger.Instance);
        watchers.Lost(Somewhere, "refused");
        watchers.Lost(Somewhere, "refused");
        watchers.Connected(Somewhere);
        watchers.Connected(Somewhere);

        await using var events = watchers.WatchAsync(Test).GetAsyncEnumerator(Test);
        await NextAsync(events, Somewhere, BrokerConnectionState.Connected);
    }

    [Fact]
    public async Task Who_does_not_listen_holds_nobody_up_and_hears_how_much_was_left_out()
    {
        var watchers = new ConnectionWatchers(TimeProvider.System, NullLogger.Instance);
        watchers.Connected(Somewhere);
        await using var events = watchers.WatchAsync(Test).GetAsyncEnumerator(Test);
        await NextAsync(events, Somewhere, BrokerConnectionState.Connected);
        for (var i = 0; i < 500; i++)
        {
            watchers.Lost(Somewhere, "gone");
            watchers.Connected(Somewhere);
        }

        watchers.Complete();
        Assert.True(await events.MoveNextAsync());
        Assert.Equal(1_000 - 256, events.Current.Missed);
        var heard = 1;
        while (await events.MoveNextAsync())
        {
            Assert.Equal(0, events.Current.Missed);
            heard++;
        }

        Assert.Equal(256, heard);
    }

    [Fact]
    public async Task Over_TLS_the_program_says_whom_it_trusts_and_sends_its_credentials()
    {
        using var certificate = SelfSigned();
        await using var cluster = new FakeCluster();
        cluster.Nodes.Add(await FakeBroker.StartAsync(cluster, 0, certificate: certificate));
        var asked = new List<Uri>();
        var options = new BrokerClientOptions
        {
            Addresses = [new Uri($"https://localhost:{cluster.Nodes[0].Address.Port}")],
            Tls = new SslClientAuthenticationOptions
            {
                RemoteCertificateValidationCallback = (_, seen, _, _) =>
                    seen?.GetCertHashString() == certificate.GetCertHashString(),
            },
            Credentials = (address, _) =>
            {
                asked.Add(address);
                return ValueTask.FromResult<string?>("Bearer let-me-in");
            },
        };

        await using (var client = new BrokerClient(options))
        {
            await client.PublishAsync("t", Message("secret"), Test);
        }

        Assert.Equal(["secret"], cluster.Values("t"));
        Assert.Equal("Bearer let-me-in", cluster.Nodes[0].Authorizations.First());
        Assert.Contains(options.Addresses[0], asked);

        // What the system trusts does not have it, so nothing was sent.
        await using var careful = new BrokerClient(
            options with { Tls = null, PublishTimeout = TimeSpan.FromSeconds(2), DrainTimeout = TimeSpan.Zero });
        var refused = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await careful.PublishAsync("t", Message("x"), Test));
        Assert.Equal(BrokerClientErrorCode.Unavailable, refused.Code);
    }

    [Fact]
    public async Task Credentials_do_not_go_to_other_machines_in_the_clear()
    {
        var options = new BrokerClientOptions
        {
            Addresses = [new Uri("http://broker.example:7001")],
            Credentials = static (_, _) => ValueTask.FromResult<string?>("Bearer x"),
        };
        var refusal = Assert.Throws<ArgumentException>(() => new BrokerClient(options));
        Assert.Contains(
            "Credentials would be sent to 'http://broker.example:7001/'", refusal.Message, StringComparison.Ordinal);

        // Nor to one that a broker names.
        await using var client = new BrokerClient(options with { Addresses = [Somewhere] });
        var unknown = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.DescribeNodeAsync(new Uri("http://broker.example:7001"), Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, unknown.Code);
    }

    [Fact]
    public async Task Credentials_that_come_late_are_waited_for()
    {
        await using var cluster = await FakeCluster.StartAsync();
        var asked = 0;
        await using var client = Connect(cluster, options => options with
        {
            Credentials = (_, _) => ++asked < 3
                ? throw new InvalidOperationException("the issuer is away")
                : ValueTask.FromResult<string?>("Basic abc"),
        });

        await client.PublishAsync("t", Message("x"), Test);

        Assert.Equal(["x"], cluster.Values("t"));
        Assert.Equal("Basic abc", cluster.Nodes[0].Authorizations.First());
    }

    private static async Task<BrokerConnectionEvent> NextAsync(
        IAsyncEnumerator<BrokerConnectionEvent> events, Uri address, BrokerConnectionState state)
    {
        Assert.True(await events.MoveNextAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30), Test));
        Assert.Equal((address, state), (events.Current.Address, events.Current.State));
        return events.Current;
    }

    private static X509Certificate2 SelfSigned()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using var made = request.CreateSelfSigned(
            DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }
}
