using System.Globalization;
using Broker.Tests.Unit.GrpcCalls;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>Our client against other implementations of gRPC: echo_server.py and echo_server.js.</summary>
public sealed class ForeignServerTests
{
    [Theory]
    [InlineData(ForeignProcess.Python, false)]
    [InlineData(ForeignProcess.Python, true)]
    [InlineData(ForeignProcess.Node, false)]
    [InlineData(ForeignProcess.Node, true)]
    public async Task All_four_kinds_of_calls_work(string language, bool gzip)
    {
        await using var server = await ForeignProcess.StartAsync(language, "echo_server", gzip ? ["--gzip"] : []);
        using var channel = await ConnectAsync(server);
        var calls = channel.CreateCallInvoker();
        var options = gzip
            ? new CallOptions(new Metadata { { "grpc-internal-encoding-request", "gzip" } })
            : default;
        var large = new byte[3 * 1024 * 1024];
        large[^1] = 7;

        Assert.Equal([1, 2], await calls.AsyncUnaryCall(EchoService.UnaryMethod, null, options, [1, 2]));
        Assert.Equal(large, await calls.AsyncUnaryCall(EchoService.UnaryMethod, null, options, large));

        using var collect = calls.AsyncClientStreamingCall(EchoService.CollectMethod, null, options);
        using var chat = calls.AsyncDuplexStreamingCall(EchoService.ChatMethod, null, options);
        for (byte i = 0; i < 100; i++)
        {
            await collect.RequestStream.WriteAsync([i]);
            await chat.RequestStream.WriteAsync([i]);
            Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
            Assert.Equal([i], chat.ResponseStream.Current);
        }

        await collect.RequestStream.CompleteAsync();
        await chat.RequestStream.CompleteAsync();
        Assert.Equal(100, (await collect.ResponseAsync.WaitAsync(EchoServer.Patience)).Length);
        Assert.False(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));

        using var count = calls.AsyncServerStreamingCall(EchoService.CountMethod, null, options, [200]);
        Assert.Equal(200, await count.ResponseStream.ReadAllAsync().CountAsync());
    }

    [Theory]
    [InlineData(ForeignProcess.Python)]
    [InlineData(ForeignProcess.Node)]
    public async Task Metadata_status_trailers_and_deadlines_are_understood(string language)
    {
        await using var server = await ForeignProcess.StartAsync(language, "echo_server");
        using var channel = await ConnectAsync(server);
        var calls = channel.CreateCallInvoker();

        var headers = new Metadata { { "act", "metadata" }, { "text", "a b" }, { "data-bin", [0, 1, 254] } };
        using var call = calls.AsyncUnaryCall(EchoService.UnaryMethod, null, new CallOptions(headers), [1]);
        var received = await call.ResponseHeadersAsync.WaitAsync(EchoServer.Patience);
        Assert.Equal("a b", received.GetValue("seen"));
        Assert.Equal([0, 1, 254], received.GetValueBytes("seen-bin")!);

        var failure = await EchoServer.FailureAsync(Act(calls, "fail").ResponseAsync);
        Assert.Equal(StatusCode.FailedPrecondition, failure.StatusCode);
        Assert.Equal("Zustände 100 %", failure.Status.Detail);
        Assert.Equal("because", failure.Trailers.GetValue("why"));
        Assert.Equal([0, 255], failure.Trailers.GetValueBytes("why-bin")!);

        // A google.rpc.Status with the code 9 and the message "why".
        Assert.Equal(
            [8, 9, 18, 3, .. "why"u8], failure.Trailers.GetValueBytes("grpc-status-details-bin")!);

        var late = await EchoServer.FailureAsync(
            Act(calls, "sleep", DateTime.UtcNow.AddMilliseconds(200)).ResponseAsync);
        Assert.Equal(StatusCode.DeadlineExceeded, late.StatusCode);

        var unknown = calls.AsyncUnaryCall(EchoService.UnknownMethod, null, default, [1]);
        Assert.Equal(StatusCode.Unimplemented, (await EchoServer.FailureAsync(unknown.ResponseAsync)).StatusCode);
    }

    [Theory]
    [InlineData(ForeignProcess.Python)]
    [InlineData(ForeignProcess.Node)]
    public async Task What_is_too_large_is_RESOURCE_EXHAUSTED_in_both_directions(string language)
    {
        await using var server = await ForeignProcess.StartAsync(language, "echo_server");
        using var channel = await ConnectAsync(server);
        var calls = channel.CreateCallInvoker();

        using var sent = calls.AsyncUnaryCall(EchoService.UnaryMethod, null, default, new byte[5 * 1024 * 1024]);
        Assert.Equal(StatusCode.ResourceExhausted, (await EchoServer.FailureAsync(sent.ResponseAsync)).StatusCode);

        using var received = Act(calls, "large");
        Assert.Equal(StatusCode.ResourceExhausted, (await EchoServer.FailureAsync(received.ResponseAsync)).StatusCode);

        Assert.Equal([1], await calls.AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]));
    }

    [Theory]
    [InlineData(ForeignProcess.Python)]
    [InlineData(ForeignProcess.Node)]
    public async Task A_server_hears_that_its_caller_cancels(string language)
    {
        await using var server = await ForeignProcess.StartAsync(language, "echo_server");
        using var channel = await ConnectAsync(server);
        using var source = new CancellationTokenSource();
        using var chat = channel.CreateCallInvoker().AsyncDuplexStreamingCall(
            EchoService.ChatMethod,
            null,
            new CallOptions(new Metadata { { "act", "tell" } }, cancellationToken: source.Token));
        await chat.RequestStream.WriteAsync([1]);
        Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var read = chat.ResponseStream.MoveNext();

        await source.CancelAsync();

        Assert.Equal(StatusCode.Cancelled, (await EchoServer.FailureAsync(read)).StatusCode);
        Assert.Equal("cancelled", await server.Output.ReadLineAsync().WaitAsync(EchoServer.Patience));
    }

    [Theory]
    [InlineData(ForeignProcess.Python)]
    [InlineData(ForeignProcess.Node)]
    public async Task A_killed_server_is_UNAVAILABLE(string language)
    {
        await using var server = await ForeignProcess.StartAsync(language, "echo_server");
        using var channel = await ConnectAsync(server);
        using var chat = channel.CreateCallInvoker().AsyncDuplexStreamingCall(EchoService.ChatMethod, null, default);
        await chat.RequestStream.WriteAsync([1]);
        Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var read = chat.ResponseStream.MoveNext();

        server.Kill();

        Assert.Equal(StatusCode.Unavailable, (await EchoServer.FailureAsync(read)).StatusCode);
    }

    private static AsyncUnaryCall<byte[]> Act(CallInvoker calls, string act, DateTime? deadline = null) =>
        calls.AsyncUnaryCall(
            EchoService.UnaryMethod, null, new CallOptions(new Metadata { { "act", act } }, deadline), [1]);

    private static async Task<GrpcChannel> ConnectAsync(ForeignProcess server)
    {
        var port = await server.Output.ReadLineAsync().WaitAsync(EchoServer.Patience);
        return GrpcChannel.ForAddress($"http://127.0.0.1:{int.Parse(port!, CultureInfo.InvariantCulture)}");
    }
}
