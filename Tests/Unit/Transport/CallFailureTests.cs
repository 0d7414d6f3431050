using System.Net;
using System.Net.Sockets;
using Broker.Protocol;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>
/// How calls fail: what of gRPC's behaviour the retries, the streams between nodes and the forwarding rest on.
/// </summary>
public sealed class CallFailureTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_refused_connection_is_UNAVAILABLE_and_nothing_was_sent()
    {
        using var channel = PeerChannel.Open(FreeAddress());
        var calls = channel.CreateCallInvoker();

        var unary = await EchoServer.FailureAsync(
            calls.AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]).ResponseAsync);
        using var call = calls.AsyncDuplexStreamingCall(EchoService.ChatMethod, null, default);
        var write = await EchoServer.FailureAsync(call.RequestStream.WriteAsync([1], Stop));
        var read = await EchoServer.FailureAsync(call.ResponseStream.MoveNext(Stop));

        Assert.All([unary, write, read], failure =>
        {
            Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
            Assert.True(Sockets.NeverConnected(failure), failure.ToString());
        });
    }

    [Fact]
    public async Task A_name_that_nobody_has_is_UNAVAILABLE_and_nothing_was_sent()
    {
        using var channel = PeerChannel.Open(new Uri("http://no-such-host.invalid:7001"));

        var failure = await EchoServer.FailureAsync(
            channel.CreateCallInvoker().AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]).ResponseAsync);

        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
        Assert.True(Sockets.NeverConnected(failure), failure.ToString());
    }

    [Fact]
    public async Task A_host_that_swallows_connections_is_UNAVAILABLE_in_time_and_nothing_was_sent()
    {
        // The first connections fill the queue of a listener that accepts none; the kernel drops what comes next.
        using var listener = new Socket(SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(0);
        var full = Enumerable.Range(0, 8).Select(_ => new Socket(SocketType.Stream, ProtocolType.Tcp)).ToList();
        full.ForEach(socket => _ = socket.ConnectAsync(listener.LocalEndPoint!, Stop).AsTask());
        await EchoServer.UntilAsync(() => full.Exists(static socket => socket.Connected), "the queue fills");
        using var channel = Open($"http://{listener.LocalEndPoint}", TimeSpan.FromMilliseconds(200));

        var failure = await EchoServer.FailureAsync(
            channel.CreateCallInvoker().AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]).ResponseAsync);

        full.ForEach(static socket => socket.Dispose());
        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
        Assert.True(Sockets.NeverConnected(failure), failure.ToString());
    }

    /// <summary>gRPC's own care for connections would refuse the second call: it pauses between attempts.</summary>
    [Fact]
    public async Task A_server_that_comes_back_is_reached_by_the_next_call()
    {
        var address = FreeAddress();
        using var channel = PeerChannel.Open(address);
        var calls = channel.CreateCallInvoker();
        await EchoServer.FailureAsync(calls.AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]).ResponseAsync);
        await using var server = await EchoServer.StartAsync(port: address.Port);

        var answer = await calls.AsyncUnaryCall(EchoService.UnaryMethod, null, default, [1]);

        Assert.Equal([1], answer);
    }

    [Fact]
    public async Task A_server_that_vanishes_in_mid_stream_ends_reads_and_writes_and_may_have_taken_something()
    {
        await using var server = await EchoServer.StartAsync();
        await using var proxy = new CuttableProxy(new Uri(server.Address).Port);
        using var channel = PeerChannel.Open(new Uri($"http://127.0.0.1:{proxy.Port}"));
        using var call = channel.CreateCallInvoker().AsyncDuplexStreamingCall(EchoService.ChatMethod, null, default);
        await call.RequestStream.WriteAsync([1], Stop);
        Assert.True(await call.ResponseStream.MoveNext(Stop).WaitAsync(EchoServer.Patience, Stop));

        // What is written may be answered before the cut: the failure comes behind those answers.
        var read = ReadToTheEndAsync(call.ResponseStream);
        var write = WriteForeverAsync(call.RequestStream);

        proxy.Cut();

        var failure = await EchoServer.FailureAsync(read);
        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
        Assert.False(Sockets.NeverConnected(failure), failure.ToString());
        var written = await Assert.ThrowsAnyAsync<Exception>(() => write.WaitAsync(EchoServer.Patience, Stop));
        Assert.True(PeerTransfer.IsBrokenCall(written), written.ToString());
        Assert.False(Sockets.NeverConnected(written), written.ToString());
    }

    [Fact]
    public async Task A_server_that_refuses_a_stream_ends_its_writes_too()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnChat = static async (requests, _, _) =>
        {
            await requests.MoveNext();
            throw new RpcException(new Status(StatusCode.FailedPrecondition, "not you"));
        };
        using var call = server.Chat();
        var read = call.ResponseStream.MoveNext(Stop);

        var written = await Assert.ThrowsAnyAsync<Exception>(
            () => WriteForeverAsync(call.RequestStream).WaitAsync(EchoServer.Patience, Stop));

        Assert.True(PeerTransfer.IsBrokenCall(written), written.ToString());
        var failure = await EchoServer.FailureAsync(read);
        Assert.Equal((StatusCode.FailedPrecondition, "not you"), (failure.StatusCode, failure.Status.Detail));
    }

    [Fact]
    public async Task A_server_that_is_stopped_with_an_open_stream_may_have_taken_something()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();
        await call.RequestStream.WriteAsync([1], Stop);
        Assert.True(await call.ResponseStream.MoveNext(Stop).WaitAsync(EchoServer.Patience, Stop));
        var read = call.ResponseStream.MoveNext(Stop);

        using var now = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
        await server.StopAsync(now.Token);

        var failure = await EchoServer.FailureAsync(read);
        Assert.True(PeerTransfer.IsTransient(failure), failure.ToString());
        Assert.False(Sockets.NeverConnected(failure), failure.ToString());
    }

    [Fact]
    public async Task A_deadline_ends_a_call_on_both_sides()
    {
        await using var server = await EchoServer.StartAsync();

        // The handler must have begun before the deadline: the connection is there, and its code is compiled.
        await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience, Stop);
        var cancelled = new TaskCompletionSource();
        server.Probe.OnUnary = async (request, context) =>
        {
            using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            await Task.Delay(Timeout.Infinite, context.CancellationToken);
            return request;
        };

        var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(1);
        var failure = await EchoServer.FailureAsync(
            server.Unary([1], new CallOptions(deadline: deadline)).ResponseAsync);

        Assert.Equal(StatusCode.DeadlineExceeded, failure.StatusCode);
        await cancelled.Task.WaitAsync(EchoServer.Patience, Stop);
    }

    [Fact]
    public async Task A_caller_that_gives_up_cancels_the_handler_and_is_no_error_of_the_server()
    {
        await using var server = await EchoServer.StartAsync();
        var ended = new TaskCompletionSource();
        server.Probe.OnChat = async (requests, responses, context) =>
        {
            try
            {
                await responses.WriteAsync([1], context.CancellationToken);
                await requests.MoveNext(context.CancellationToken);
            }
            finally
            {
                ended.TrySetResult();
            }
        };
        var call = server.Chat();
        Assert.True(await call.ResponseStream.MoveNext(Stop).WaitAsync(EchoServer.Patience, Stop));

        call.Dispose();

        await ended.Task.WaitAsync(EchoServer.Patience, Stop);
        await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience, Stop);
        Assert.Empty(server.Errors.Lines);
    }

    private static GrpcChannel Open(string address, TimeSpan patience) => GrpcChannel.ForAddress(
        address,
        new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { ConnectCallback = Sockets.ConnectWithin(patience) },
            DisposeHttpClient = true,
        });

    /// <summary>Where nobody listens.</summary>
    private static Uri FreeAddress()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
    }

    private static async Task ReadToTheEndAsync(IAsyncStreamReader<byte[]> stream)
    {
        while (await stream.MoveNext(Stop))
        {
            // The answers are not what is looked for.
        }
    }

    private static async Task WriteForeverAsync(IClientStreamWriter<byte[]> writer)
    {
        while (true)
        {
            await writer.WriteAsync(new byte[1000], Stop);
        }
    }
}
