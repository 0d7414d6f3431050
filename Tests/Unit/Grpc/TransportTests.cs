using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

public sealed class TransportTests
{
    [Fact]
    public async Task A_refused_connection_is_UNAVAILABLE_and_names_the_address()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var address = $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";
        listener.Stop();
        using var channel = GrpcChannel.ForAddress(address);

        var failure = await EchoServer.FailureAsync(
            channel.CreateCallInvoker().AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]).ResponseAsync);

        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
        Assert.Contains(address, failure.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stream_that_cannot_connect_fails_reader_and_writer_with_UNAVAILABLE()
    {
        using var channel = GrpcChannel.ForAddress("http://127.0.0.1:1");
        using var call = channel.CreateCallInvoker().AsyncDuplexStreamingCall(EchoService.ChatMethod, null, default);

        var write = await EchoServer.FailureAsync(call.RequestStream.WriteAsync([1]));
        var read = await EchoServer.FailureAsync(call.ResponseStream.MoveNext());

        Assert.Equal(StatusCode.Unavailable, write.StatusCode);
        Assert.Equal(StatusCode.Unavailable, read.StatusCode);
    }

    [Fact]
    public async Task A_server_that_vanishes_in_mid_stream_is_UNAVAILABLE()
    {
        await using var server = await EchoServer.StartAsync();
        await using var proxy = new CuttableProxy(new Uri(server.Address).Port);
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{proxy.Port}");
        using var call = channel.CreateCallInvoker().AsyncDuplexStreamingCall(EchoService.ChatMethod, null, default);
        await call.RequestStream.WriteAsync([1]);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var read = call.ResponseStream.MoveNext();

        proxy.Cut();

        Assert.Equal(StatusCode.Unavailable, (await EchoServer.FailureAsync(read)).StatusCode);
        Assert.Equal(
            StatusCode.Unavailable, (await EchoServer.FailureAsync(call.RequestStream.WriteAsync([2]))).StatusCode);
    }

    [Fact]
    public async Task A_server_that_stops_is_UNAVAILABLE_to_its_open_streams()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();
        await call.RequestStream.WriteAsync([1]);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var read = call.ResponseStream.MoveNext();

        using var now = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
        await server.StopAsync(now.Token);

        Assert.Equal(StatusCode.Unavailable, (await EchoServer.FailureAsync(read)).StatusCode);
    }

    [Fact]
    public async Task A_sender_that_is_not_read_stalls()
    {
        await using var server = await EchoServer.StartAsync();
        var mayRead = new TaskCompletionSource();
        server.Probe.OnCollect = async (requests, _) =>
        {
            await mayRead.Task;
            return [(byte)Math.Min(await requests.ReadAllAsync().CountAsync(), 255)];
        };
        using var call = server.Collect();
        var message = new byte[64 * 1024];
        var sent = 0;
        Task write;
        do
        {
            write = call.RequestStream.WriteAsync(message);
            await Task.WhenAny(write, Task.Delay(300));
            sent += write.IsCompleted ? 1 : 0;
        }
        while (write.IsCompleted && sent < 1000);

        Assert.False(write.IsCompleted, "64 MiB were taken from a sender whom nobody reads.");
        mayRead.SetResult();
        await write.WaitAsync(EchoServer.Patience);
        await call.RequestStream.CompleteAsync();
        Assert.Equal([(byte)Math.Min(sent + 1, 255)], await call.ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_handler_whose_caller_does_not_read_stalls()
    {
        await using var server = await EchoServer.StartAsync();
        var sent = 0;
        server.Probe.OnCount = async (_, responses, _) =>
        {
            for (var i = 0; i < 1000; i++)
            {
                await responses.WriteAsync(new byte[64 * 1024]);
                Interlocked.Increment(ref sent);
            }
        };
        using var call = server.Count(0);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var before = -1;
        while (before != Volatile.Read(ref sent))
        {
            before = Volatile.Read(ref sent);
            await Task.Delay(200);
        }

        Assert.InRange(before, 1, 999);
        Assert.Equal(
            999, await call.ResponseStream.ReadAllAsync().CountAsync().AsTask().WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_request_beyond_the_limit_of_the_server_is_RESOURCE_EXHAUSTED()
    {
        await using var server = await EchoServer.StartAsync(options => options.MaxReceiveMessageSize = 1000);

        var failure = await EchoServer.FailureAsync(server.Unary(new byte[1001]).ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Equal(1000, (await server.Unary(new byte[1000]).ResponseAsync.WaitAsync(EchoServer.Patience)).Length);
    }

    [Fact]
    public async Task A_response_beyond_the_limit_of_the_server_is_RESOURCE_EXHAUSTED()
    {
        await using var server = await EchoServer.StartAsync(options => options.MaxSendMessageSize = 1000);

        var failure = await EchoServer.FailureAsync(server.Unary(new byte[1001]).ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
    }

    [Fact]
    public async Task A_response_beyond_the_limit_of_the_client_is_RESOURCE_EXHAUSTED()
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: new GrpcChannelOptions { MaxReceiveMessageSize = 1000 });

        var failure = await EchoServer.FailureAsync(server.Unary(new byte[1001]).ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
    }

    [Fact]
    public async Task A_request_beyond_the_limit_of_the_client_is_RESOURCE_EXHAUSTED_and_spares_the_stream()
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: new GrpcChannelOptions { MaxSendMessageSize = 1000 });
        using var call = server.Chat();

        var failure = await Assert.ThrowsAsync<RpcException>(() => call.RequestStream.WriteAsync(new byte[1001]));
        await call.RequestStream.WriteAsync([1]);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        Assert.Equal(
            StatusCode.ResourceExhausted,
            (await EchoServer.FailureAsync(server.Unary(new byte[1001]).ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task A_server_of_HTTP_1_is_UNAVAILABLE_and_not_a_hang()
    {
        await using var server = await EchoServer.StartAsync(
            protocols: Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http1);

        var failure = await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync);

        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
    }
}
