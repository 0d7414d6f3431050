using System.Globalization;
using Broker.Tests.Unit.GrpcCalls;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>Our client against a server on gRPC's C core, in Python: echo_server.py.</summary>
public sealed class ForeignServerTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task All_four_kinds_of_calls_work(bool gzip)
    {
        await using var server = await PythonProcess.StartAsync("echo_server.py", gzip ? ["--gzip"] : []);
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

    [Fact]
    public async Task Metadata_status_trailers_and_deadlines_are_understood()
    {
        await using var server = await PythonProcess.StartAsync("echo_server.py");
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

        var late = await EchoServer.FailureAsync(
            Act(calls, "sleep", DateTime.UtcNow.AddMilliseconds(200)).ResponseAsync);
        Assert.Equal(StatusCode.DeadlineExceeded, late.StatusCode);

        var unknown = calls.AsyncUnaryCall(EchoService.UnknownMethod, null, default, [1]);
        Assert.Equal(StatusCode.Unimplemented, (await EchoServer.FailureAsync(unknown.ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task A_killed_server_is_UNAVAILABLE()
    {
        await using var server = await PythonProcess.StartAsync("echo_server.py");
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

    private static async Task<GrpcChannel> ConnectAsync(PythonProcess server)
    {
        var port = await server.Output.ReadLineAsync().WaitAsync(EchoServer.Patience);
        return GrpcChannel.ForAddress($"http://127.0.0.1:{int.Parse(port!, CultureInfo.InvariantCulture)}");
    }
}
