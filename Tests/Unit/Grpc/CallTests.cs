using System.Globalization;
using System.Text;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

public sealed class CallTests
{
    [Fact]
    public async Task A_unary_call_brings_its_response_and_status()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Unary([1, 2, 3]);

        Assert.Equal([1, 2, 3], await call.ResponseAsync.WaitAsync(EchoServer.Patience));
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task A_blocking_unary_call_brings_its_response()
    {
        await using var server = await EchoServer.StartAsync();

        Assert.Equal([7], server.Calls.BlockingUnaryCall(EchoService.UnaryMethod, null, default, [7]));
    }

    [Fact]
    public async Task An_empty_message_travels()
    {
        await using var server = await EchoServer.StartAsync();

        Assert.Empty(await server.Unary([]).ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_client_streaming_call_collects_all_requests()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Collect();
        for (byte i = 0; i < 100; i++)
        {
            await call.RequestStream.WriteAsync([i]);
        }

        await call.RequestStream.CompleteAsync();

        var response = await call.ResponseAsync.WaitAsync(EchoServer.Patience);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (byte)i), response);
    }

    [Fact]
    public async Task A_server_streaming_call_brings_all_responses_in_order()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Count(200);

        var seen = new List<byte>();
        await foreach (var response in call.ResponseStream.ReadAllAsync())
        {
            seen.Add(response[0]);
        }

        Assert.Equal(Enumerable.Range(0, 200).Select(i => (byte)i), seen);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.False(await call.ResponseStream.MoveNext());
    }

    [Fact]
    public async Task A_duplex_call_is_a_conversation()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();
        for (byte i = 0; i < 10; i++)
        {
            await call.RequestStream.WriteAsync([i]);
            Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
            Assert.Equal([i], call.ResponseStream.Current);
        }

        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task Requests_with_a_buffer_hint_leave_with_the_first_that_has_none()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();
        call.RequestStream.WriteOptions = new WriteOptions(WriteFlags.BufferHint);
        await call.RequestStream.WriteAsync([1]);
        await call.RequestStream.WriteAsync([2]);
        var first = call.ResponseStream.MoveNext();

        // Many calls pass on the same connection while the hinted requests wait.
        for (var i = 0; i < 20; i++)
        {
            await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience);
        }

        Assert.False(first.IsCompleted);

        call.RequestStream.WriteOptions = null;
        await call.RequestStream.WriteAsync([3]);

        Assert.True(await first.WaitAsync(EchoServer.Patience));
        Assert.Equal([1], call.ResponseStream.Current);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        Assert.Equal([3], call.ResponseStream.Current);
    }

    [Fact]
    public async Task Requests_with_a_buffer_hint_leave_at_half_close_at_the_latest()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Collect();
        call.RequestStream.WriteOptions = new WriteOptions(WriteFlags.BufferHint);
        await call.RequestStream.WriteAsync([1]);
        await call.RequestStream.CompleteAsync();

        Assert.Equal([1], await call.ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task Responses_with_a_buffer_hint_leave_with_the_end_at_the_latest()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnCount = static async (_, responses, context) =>
        {
            context.WriteOptions = new WriteOptions(WriteFlags.BufferHint);
            for (byte i = 0; i < 5; i++)
            {
                await responses.WriteAsync([i]);
            }
        };
        using var call = server.Count(0);

        Assert.Equal(5, await call.ResponseStream.ReadAllAsync().CountAsync());
    }

    [Theory]
    [InlineData(3 * 1024 * 1024)]
    [InlineData(100_000)]
    public async Task Large_messages_travel_both_ways(int sizeBytes)
    {
        await using var server = await EchoServer.StartAsync();
        var message = new byte[sizeBytes];
        Random.Shared.NextBytes(message);

        Assert.Equal(message, await server.Unary(message).ResponseAsync.WaitAsync(EchoServer.Patience));

        using var chat = server.Chat();
        for (var i = 0; i < 3; i++)
        {
            var write = chat.RequestStream.WriteAsync(message);
            Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
            await write;
            Assert.Equal(message, chat.ResponseStream.Current);
        }
    }

    [Fact]
    public async Task Metadata_travels_both_ways_as_text_and_as_bytes()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static async (request, context) =>
        {
            await context.WriteResponseHeadersAsync(new Metadata
            {
                { "seen-text", context.RequestHeaders.GetValue("my-text")! },
                { "seen-bin", context.RequestHeaders.GetValueBytes("my-bin")! },
                { "seen-many", string.Join('+', context.RequestHeaders.GetAll("many").Select(entry => entry.Value)) },
            });
            context.ResponseTrailers.Add("end-text", "the end");
            context.ResponseTrailers.Add("end-bin", [0, 255, 1]);
            return request;
        };
        var headers = new Metadata
        {
            { "My-Text", "a b=c" },
            { "my-bin", [0, 1, 2, 254, 255] },
            { "many", "1" },
            { "many", "2" },
        };
        using var call = server.Unary([1], new CallOptions(headers));

        var received = await call.ResponseHeadersAsync.WaitAsync(EchoServer.Patience);
        await call.ResponseAsync.WaitAsync(EchoServer.Patience);

        Assert.Equal("a b=c", received.GetValue("seen-text"));
        Assert.Equal([0, 1, 2, 254, 255], received.GetValueBytes("seen-bin")!);
        Assert.Contains(received.GetValue("seen-many"), new[] { "1+2", "1, 2", "1,2" });
        Assert.Equal("the end", call.GetTrailers().GetValue("end-text"));
        Assert.Equal([0, 255, 1], call.GetTrailers().GetValueBytes("end-bin")!);
        Assert.Null(call.GetTrailers().Get("grpc-status"));
    }

    [Fact]
    public async Task Text_that_HTTP_does_not_carry_is_refused_on_both_sides()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static (request, context) =>
        {
            context.ResponseTrailers.Add("text", "ä\n");
            return Task.FromResult(request);
        };

        var sent = await EchoServer.FailureAsync(
            server.Unary([1], new CallOptions(new Metadata { { "text", "ä" } })).ResponseAsync);
        var received = await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync);

        Assert.Equal(StatusCode.Internal, sent.StatusCode);
        Assert.Equal(StatusCode.Internal, received.StatusCode);
        Assert.Contains("'text'", received.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_handler_that_throws_RpcException_chooses_status_and_trailers()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static (_, _) => throw new RpcException(
            new Status(StatusCode.FailedPrecondition, "Zustände: 100 % äöü\n€"), new Metadata { { "why", "because" } });

        using var call = server.Unary([1]);
        var failure = await EchoServer.FailureAsync(call.ResponseAsync);

        Assert.Equal(StatusCode.FailedPrecondition, failure.StatusCode);
        Assert.Equal("Zustände: 100 % äöü\n€", failure.Status.Detail);
        Assert.Equal("because", failure.Trailers.GetValue("why"));
        Assert.Equal("because", call.GetTrailers().GetValue("why"));
    }

    [Fact]
    public async Task A_status_after_responses_comes_after_the_responses()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnCount = static async (_, responses, _) =>
        {
            await responses.WriteAsync([1]);
            throw new RpcException(new Status(StatusCode.OutOfRange, "no more"));
        };
        using var call = server.Count(0);

        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var failure = await EchoServer.FailureAsync(call.ResponseStream.MoveNext());

        Assert.Equal(StatusCode.OutOfRange, failure.StatusCode);
    }

    [Theory]
    [InlineData(false, "Exception was thrown by handler.")]
    [InlineData(true, "secret")]
    public async Task An_unexpected_exception_is_UNKNOWN_and_tells_its_message_only_when_asked_to(
        bool detailed, string part)
    {
        await using var server = await EchoServer.StartAsync(options => options.EnableDetailedErrors = detailed);
        server.Probe.OnUnary = static (_, _) => throw new FormatException("secret");

        var failure = await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync);

        Assert.Equal(StatusCode.Unknown, failure.StatusCode);
        Assert.Contains(part, failure.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(detailed, failure.Status.Detail.Contains("secret", StringComparison.Ordinal));
        Assert.Contains("/test.v1.Echo/Unary", Assert.Single(server.Errors.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_handler_may_set_the_status_and_return()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnCount = static (_, _, context) =>
        {
            context.Status = new Status(StatusCode.NotFound, "nothing here");
            return Task.CompletedTask;
        };

        var failure = await EchoServer.FailureAsync(server.Count(0).ResponseStream.MoveNext());

        Assert.Equal(StatusCode.NotFound, failure.StatusCode);
    }

    [Fact]
    public async Task An_unknown_method_is_UNIMPLEMENTED_and_named()
    {
        await using var server = await EchoServer.StartAsync();

        var failure = await EchoServer.FailureAsync(
            server.Calls.AsyncUnaryCall(EchoService.UnknownMethod, null, default, [1]).ResponseAsync);

        Assert.Equal(StatusCode.Unimplemented, failure.StatusCode);
        Assert.Contains("/test.v1.Echo/Nothing", failure.Status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(503, StatusCode.Unavailable)]
    [InlineData(404, StatusCode.Unimplemented)]
    [InlineData(401, StatusCode.Unauthenticated)]
    [InlineData(403, StatusCode.PermissionDenied)]
    [InlineData(500, StatusCode.Unknown)]
    public async Task An_HTTP_status_is_translated(int http, StatusCode expected)
    {
        await using var server = await EchoServer.StartAsync();
        var name = http.ToString(CultureInfo.InvariantCulture);
        var method = new Method<byte[], byte[]>(
            MethodType.Unary, "test.v1.Broken", name, EchoService.Bytes, EchoService.Bytes);

        var failure = await EchoServer.FailureAsync(
            server.Calls.AsyncUnaryCall(method, null, default, [1]).ResponseAsync);

        Assert.Equal(expected, failure.StatusCode);
    }

    [Fact]
    public async Task The_context_names_method_peer_and_host()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static (_, context) => Task.FromResult(
            Encoding.UTF8.GetBytes($"{context.Method} {context.Peer} {context.Host}"));

        var text = Encoding.UTF8.GetString(await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience));

        Assert.StartsWith("/test.v1.Echo/Unary ipv4:127.0.0.1:", text, StringComparison.Ordinal);
        Assert.EndsWith(new Uri(server.Address).Authority, text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_status_of_a_running_call_cannot_be_read()
    {
        await using var server = await EchoServer.StartAsync();
        using var call = server.Chat();

        Assert.Throws<InvalidOperationException>(() => call.GetStatus());
        Assert.Throws<InvalidOperationException>(() => call.GetTrailers());
    }
}
