using System.Diagnostics;
using System.Net;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>An application with the echo service on a free loopback port, and a channel to it.</summary>
public sealed class EchoServer : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly WebApplication _app;

    private EchoServer(WebApplication app, GrpcChannelOptions? channelOptions, ErrorLog errors)
    {
        _app = app;
        Errors = errors;
        Address =
            app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        Channel = GrpcChannel.ForAddress(Address, channelOptions ?? new GrpcChannelOptions());
        Calls = Channel.CreateCallInvoker();
        Probe = app.Services.GetRequiredService<EchoService.Probe>();
    }

    /// <summary>What the application has logged as an error.</summary>
    public ErrorLog Errors { get; }

    public string Address { get; }

    public GrpcChannel Channel { get; }

    public CallInvoker Calls { get; }

    public EchoService.Probe Probe { get; }

    public static async Task<EchoServer> StartAsync(
        Action<GrpcServiceOptions>? configure = null,
        GrpcChannelOptions? channelOptions = null,
        Action<WebApplication>? map = null,
        HttpProtocols protocols = HttpProtocols.Http2,
        Action<ListenOptions>? listen = null,
        Action<IServiceCollection>? register = null,
        int port = 0,
        Func<IPAddress, int, IPEndPoint>? at = null)
    {
        at ??= static (address, number) => new IPEndPoint(address, number);
        var errors = new ErrorLog();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Logging.AddProvider(errors);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(
            at(IPAddress.Loopback, port), endpoint =>
            {
                endpoint.Protocols = protocols;
                listen?.Invoke(endpoint);
            }));
        builder.Services.AddGrpc(options => configure?.Invoke(options));
        builder.Services.AddSingleton<EchoService.Probe>();
        register?.Invoke(builder.Services);
        var app = builder.Build();
        app.MapGrpcService<EchoService>();
        app.MapGet("/plain", static () => "plain");
        app.MapPost("/test.v1.Broken/{status}", static (HttpContext http, int status) => Results.StatusCode(status));
        map?.Invoke(app);
        await app.StartAsync();
        return new EchoServer(app, channelOptions, errors);
    }

    public Task StopAsync(CancellationToken cancellationToken) => _app.StopAsync(cancellationToken);

    public AsyncUnaryCall<byte[]> Unary(byte[] request, CallOptions options = default) =>
        Calls.AsyncUnaryCall(EchoService.UnaryMethod, null, options, request);

    public AsyncClientStreamingCall<byte[], byte[]> Collect(CallOptions options = default) =>
        Calls.AsyncClientStreamingCall(EchoService.CollectMethod, null, options);

    public AsyncServerStreamingCall<byte[]> Count(byte count, CallOptions options = default) =>
        Calls.AsyncServerStreamingCall(EchoService.CountMethod, null, options, [count]);

    public AsyncDuplexStreamingCall<byte[], byte[]> Chat(CallOptions options = default) =>
        Calls.AsyncDuplexStreamingCall(EchoService.ChatMethod, null, options);

    public static async Task<RpcException> FailureAsync(Task task) =>
        await Assert.ThrowsAsync<RpcException>(() => task.WaitAsync(Patience));

    /// <summary>Polls until the condition holds, or fails the test.</summary>
    public static async Task UntilAsync(Func<bool> condition, string what)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < Patience, $"Not in time: {what}");
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        using var impatience = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        await _app.StopAsync(impatience.Token);
        await _app.DisposeAsync();
    }
}
