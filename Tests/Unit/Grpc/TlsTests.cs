using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>gRPC over TLS, with certificates made for the test: HTTP/2 is agreed on by ALPN.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly X509Certificate2 _server = MakeCertificate("CN=localhost");
    private readonly X509Certificate2 _client = MakeCertificate("CN=the client");
    private readonly List<IDisposable> _handlers = [];

    public void Dispose()
    {
        _handlers.ForEach(handler => handler.Dispose());
        _server.Dispose();
        _client.Dispose();
    }

    [Theory]
    [InlineData(HttpProtocols.Http2)]
    [InlineData(HttpProtocols.Http1AndHttp2)]
    public async Task All_kinds_of_calls_work_over_TLS(HttpProtocols protocols)
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: Trusting(), protocols: protocols, listen: endpoint => endpoint.UseHttps(_server));
        var seen = "";
        server.Probe.OnUnary = (request, context) =>
        {
            var http = context.GetHttpContext();
            seen = $"{http.Request.Scheme} {http.Request.Protocol}";
            return Task.FromResult(request);
        };
        var large = new byte[3 * 1024 * 1024];
        Random.Shared.NextBytes(large);

        Assert.StartsWith("https://", server.Address, StringComparison.Ordinal);
        Assert.Equal(large, await server.Unary(large).ResponseAsync.WaitAsync(EchoServer.Patience));
        Assert.Equal("https HTTP/2", seen);

        using var count = server.Count(100);
        Assert.Equal(100, await count.ResponseStream.ReadAllAsync().CountAsync());
        using var chat = server.Chat();
        await chat.RequestStream.WriteAsync([5]);
        Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        await chat.RequestStream.CompleteAsync();
        Assert.False(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_certificate_that_is_not_trusted_is_UNAVAILABLE_and_said_to_be_the_reason()
    {
        await using var server = await EchoServer.StartAsync(listen: endpoint => endpoint.UseHttps(_server));

        var failure = await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync);

        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
        Assert.Contains("certificate", failure.Status.Detail, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task A_server_that_does_not_agree_on_HTTP_2_is_UNAVAILABLE()
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: Trusting(),
            protocols: HttpProtocols.Http1,
            listen: endpoint => endpoint.UseHttps(_server));

        Assert.Equal(
            StatusCode.Unavailable, (await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task A_client_certificate_names_the_caller()
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: Trusting(_client), listen: endpoint => endpoint.UseHttps(https =>
            {
                https.ServerCertificate = _server;
                https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
                https.ClientCertificateValidation = (certificate, _, _) => certificate.Thumbprint == _client.Thumbprint;
            }));
        server.Probe.OnUnary = static (_, context) => Task.FromResult<byte[]>(
            context.AuthContext.IsPeerAuthenticated
            && context.AuthContext.FindPropertiesByName("x509_common_name").Single().Value == "the client"
                ? [1] : [0]);

        Assert.Equal([1], await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task Credentials_that_do_not_fit_the_address_are_refused()
    {
        await using var server = await EchoServer.StartAsync();

        Assert.Throws<ArgumentException>(() => GrpcChannel.ForAddress(
            server.Address, new GrpcChannelOptions { Credentials = ChannelCredentials.SecureSsl }));
    }

    private GrpcChannelOptions Trusting(X509Certificate2? own = null)
    {
        var handler = new SocketsHttpHandler
        {
            SslOptions = new SslClientAuthenticationOptions
            {
                RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                    certificate?.GetCertHashString() == _server.Thumbprint,
                ClientCertificates = own is null ? null : [own],
            },
        };
        _handlers.Add(handler);
        return new GrpcChannelOptions { HttpHandler = handler };
    }

    private static X509Certificate2 MakeCertificate(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        var now = DateTimeOffset.UtcNow;
        using var made = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));

        // Some platforms serve TLS only with a key that has been through a file of the PKCS#12 format.
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }
}
