using System.Diagnostics;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

public sealed class CancellationTests
{
    [Fact]
    public async Task A_deadline_ends_the_call_on_both_sides()
    {
        await using var server = await EchoServer.StartAsync();
        var cancelled = new TaskCompletionSource<DateTime>();
        server.Probe.OnUnary = async (request, context) =>
        {
            using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult(context.Deadline));
            await Task.Delay(Timeout.Infinite, context.CancellationToken);
            return request;
        };
        var deadline = DateTime.UtcNow.AddMilliseconds(200);
        var watch = Stopwatch.StartNew();

        var failure = await EchoServer.FailureAsync(
            server.Unary([1], new CallOptions(deadline: deadline)).ResponseAsync);

        Assert.Equal(StatusCode.DeadlineExceeded, failure.StatusCode);
        Assert.InRange(watch.Elapsed, TimeSpan.FromMilliseconds(150), EchoServer.Patience);
        var seen = await cancelled.Task.WaitAsync(EchoServer.Patience);
        Assert.InRange(seen, deadline.AddSeconds(-5), deadline.AddSeconds(5));
    }

    [Fact]
    public async Task The_server_enforces_the_deadline_on_a_handler_that_waits_for_requests()
    {
        await using var server = await EchoServer.StartAsync();
        var ended = new TaskCompletionSource<Exception?>();
        server.Probe.OnChat = async (requests, _, _) =>
            ended.TrySetResult(await Record.ExceptionAsync(() => requests.MoveNext()));

        // The raw request announces a deadline and does not keep it itself.
        using var client = new RawClient(server.Address);
        using var response = await client.StartStreamAsync("/test.v1.Echo/Chat", timeout: "100m");

        Assert.IsAssignableFrom<OperationCanceledException>(await ended.Task.WaitAsync(EchoServer.Patience));
        Assert.Equal("4", await response.StatusAsync());
    }

    [Fact]
    public async Task A_deadline_in_the_past_fails_without_a_request()
    {
        await using var server = await EchoServer.StartAsync();
        var wasCalled = false;
        server.Probe.OnUnary = (request, _) =>
        {
            wasCalled = true;
            return Task.FromResult(request);
        };

        var options = new CallOptions(deadline: DateTime.UtcNow.AddSeconds(-1));
        var failure = await EchoServer.FailureAsync(server.Unary([1], options).ResponseAsync);

        Assert.Equal(StatusCode.DeadlineExceeded, failure.StatusCode);
        Assert.False(wasCalled);
    }

    [Fact]
    public async Task A_call_without_a_deadline_has_none()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static (_, context) =>
            Task.FromResult(new[] { context.Deadline == DateTime.MaxValue ? (byte)1 : (byte)0 });

        Assert.Equal([1], await server.Unary([9]).ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_caller_that_cancels_or_disposes_cancels_the_handler(bool byToken)
    {
        await using var server = await EchoServer.StartAsync();
        var started = new TaskCompletionSource();
        var cancelled = new TaskCompletionSource();
        server.Probe.OnChat = async (requests, _, context) =>
        {
            using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            started.TrySetResult();
            await requests.MoveNext();
        };
        using var source = new CancellationTokenSource();
        using var call = server.Chat(new CallOptions(cancellationToken: source.Token));
        var read = call.ResponseStream.MoveNext();
        await started.Task.WaitAsync(EchoServer.Patience);

        if (byToken)
        {
            await source.CancelAsync();
        }
        else
        {
            call.Dispose();
        }

        await cancelled.Task.WaitAsync(EchoServer.Patience);
        Assert.Equal(StatusCode.Cancelled, (await EchoServer.FailureAsync(read)).StatusCode);
        Assert.Equal(
            StatusCode.Cancelled, (await EchoServer.FailureAsync(call.RequestStream.WriteAsync([1]))).StatusCode);
        Assert.Equal(StatusCode.Cancelled, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task A_caller_that_gives_up_is_no_error_of_the_server()
    {
        await using var server = await EchoServer.StartAsync();
        var ended = 0;
        var chat = server.Probe.OnChat;
        server.Probe.OnChat = async (requests, responses, context) =>
        {
            try
            {
                await chat(requests, responses, context);
            }
            finally
            {
                Interlocked.Increment(ref ended);
            }
        };
        for (var i = 0; i < 20; i++)
        {
            using var call = server.Chat();
            await call.RequestStream.WriteAsync([1]);
            Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        }

        await EchoServer.UntilAsync(() => Volatile.Read(ref ended) == 20, "all handlers end");
        await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience);
        Assert.Empty(server.Errors.Lines);
    }

    [Fact]
    public async Task The_token_of_a_read_cancels_the_call()
    {
        await using var server = await EchoServer.StartAsync();
        using var source = new CancellationTokenSource();
        using var call = server.Chat();
        var read = call.ResponseStream.MoveNext(source.Token);
        await source.CancelAsync();

        Assert.Equal(StatusCode.Cancelled, (await EchoServer.FailureAsync(read)).StatusCode);
    }

    [Fact]
    public async Task A_cancelled_call_throws_OperationCanceledException_when_the_channel_is_told_so()
    {
        await using var server = await EchoServer.StartAsync(
            channelOptions: new GrpcChannelOptions { ThrowOperationCanceledOnCancellation = true });
        using var source = new CancellationTokenSource();
        using var call = server.Chat(new CallOptions(cancellationToken: source.Token));
        var read = call.ResponseStream.MoveNext();
        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read.WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_disposed_channel_cancels_its_calls_and_takes_no_more()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();
        var read = call.ResponseStream.MoveNext();

        server.Channel.Dispose();

        Assert.Equal(StatusCode.Cancelled, (await EchoServer.FailureAsync(read)).StatusCode);
        Assert.Throws<ObjectDisposedException>(() => server.Unary([1]));
    }

    [Fact]
    public async Task A_server_that_ends_the_call_early_gives_its_status_to_the_writer()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnCollect = static async (requests, _) =>
        {
            await requests.MoveNext();
            throw new RpcException(new Status(StatusCode.PermissionDenied, "not you"));
        };
        using var call = server.Collect();

        var failure = await EchoServer.FailureAsync(WriteForeverAsync(call.RequestStream));

        Assert.Equal(StatusCode.PermissionDenied, failure.StatusCode);
        Assert.Equal(StatusCode.PermissionDenied, (await EchoServer.FailureAsync(call.ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task A_server_that_ends_a_conversation_early_gives_its_status_to_writer_and_reader()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnChat = static async (requests, _, _) =>
        {
            await requests.MoveNext();
            throw new RpcException(new Status(StatusCode.Aborted, "enough"));
        };
        using var call = server.Chat();
        var read = call.ResponseStream.MoveNext();

        var failure = await EchoServer.FailureAsync(WriteForeverAsync(call.RequestStream));

        Assert.Equal(StatusCode.Aborted, failure.StatusCode);
        Assert.Equal(StatusCode.Aborted, (await EchoServer.FailureAsync(read)).StatusCode);
    }

    private static async Task WriteForeverAsync(IClientStreamWriter<byte[]> writer)
    {
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < EchoServer.Patience)
        {
            await writer.WriteAsync(new byte[1000]);
        }
    }
}
