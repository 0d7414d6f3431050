using System.Net;
using System.Net.Http.Headers;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>Peers that speak another protocol, speak nonsense, or are gone in the middle of a word.</summary>
public sealed class HostilePeerTests
{
    private const int Seed = 20_260_101;

    [Fact]
    public async Task Random_bytes_get_a_status_and_leave_the_server_serving()
    {
        await using var server = await EchoServer.StartAsync(options => options.ResponseCompressionAlgorithm = "gzip");
        using var client = new RawClient(server.Address);
        var random = new Random(Seed);
        for (var i = 0; i < 300; i++)
        {
            var body = RandomFrames(random);
            using var response = await client.PostAsync(
                random.Next(2) == 0 ? "/test.v1.Echo/Unary" : "/test.v1.Echo/Chat",
                body,
                encoding: random.Next(2) == 0 ? "gzip" : null,
                acceptEncoding: "gzip");

            var status = await response.StatusAsync();
            Assert.True(status is "0" or "8" or "13", $"{status} for {Convert.ToHexString(body)}");
        }

        Assert.Equal([1], await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience));
        Assert.Empty(server.Errors.Lines);
    }

    [Fact]
    public async Task Random_responses_end_the_call_with_a_status()
    {
        var random = new Random(Seed);
        byte[] body = [];
        await using var server = await EchoServer.StartAsync(map: app => app.MapPost(
            "/test.v1.Raw/Get",
            async (HttpContext http) =>
            {
                http.Response.ContentType = "application/grpc";
                http.Response.Headers["grpc-encoding"] = "gzip";
                await http.Response.Body.WriteAsync(body);
                http.Response.AppendTrailer("grpc-status", "0");
            }));
        var method = new Method<byte[], byte[]>(
            MethodType.ServerStreaming, "test.v1.Raw", "Get", EchoService.Bytes, EchoService.Bytes);
        using var patience = new CancellationTokenSource(EchoServer.Patience);
        for (var i = 0; i < 300; i++)
        {
            body = RandomFrames(random);
            using var call = server.Calls.AsyncServerStreamingCall(method, null, default, [1]);
            var end = await Record.ExceptionAsync(
                async () => await call.ResponseStream.ReadAllAsync(patience.Token).CountAsync(patience.Token));

            Assert.True(
                end is null or RpcException { StatusCode: StatusCode.Internal or StatusCode.ResourceExhausted },
                $"{end} for {Convert.ToHexString(body)}");
        }
    }

    [Fact]
    public async Task A_caller_that_vanishes_inside_a_message_cancels_the_handler_and_is_no_error()
    {
        await using var server = await EchoServer.StartAsync();
        await using var proxy = new CuttableProxy(new Uri(server.Address).Port);
        var cancelled = new TaskCompletionSource();
        var reading = new TaskCompletionSource();
        server.Probe.OnCollect = async (requests, context) =>
        {
            using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            Assert.True(await requests.MoveNext());
            reading.TrySetResult();
            await requests.MoveNext();
            return [1];
        };
        using var http = new HttpMessageInvoker(new SocketsHttpHandler());
        using var request = RawRequest(
            $"http://127.0.0.1:{proxy.Port}/test.v1.Echo/Collect", HttpVersion.Version20, new PartialContent());
        var send = http.SendAsync(request, default);
        await reading.Task.WaitAsync(EchoServer.Patience);

        proxy.Cut();

        await cancelled.Task.WaitAsync(EchoServer.Patience);
        await Assert.ThrowsAsync<HttpRequestException>(() => send.WaitAsync(EchoServer.Patience));
        await server.Unary([1]).ResponseAsync.WaitAsync(EchoServer.Patience);
        Assert.Empty(server.Errors.Lines);
    }

    [Fact]
    public async Task A_gRPC_request_over_HTTP_1_is_told_to_upgrade()
    {
        await using var server = await EchoServer.StartAsync(protocols: HttpProtocols.Http1);
        using var http = new HttpMessageInvoker(new SocketsHttpHandler());
        using var request = RawRequest(
            server.Address + "/test.v1.Echo/Unary", HttpVersion.Version11, new ByteArrayContent([0, 0, 0, 0, 0]));
        using var response = await http.SendAsync(request, default).WaitAsync(EchoServer.Patience);

        Assert.Equal(HttpStatusCode.UpgradeRequired, response.StatusCode);
    }

    [Fact]
    public async Task Another_HTTP_method_and_a_missing_content_type_are_refused()
    {
        await using var server = await EchoServer.StartAsync();
        using var http = new HttpMessageInvoker(new SocketsHttpHandler());
        using var get = RawRequest(server.Address + "/test.v1.Echo/Unary", HttpVersion.Version20, null);
        get.Method = HttpMethod.Get;
        using var bare = RawRequest(
            server.Address + "/test.v1.Echo/Unary", HttpVersion.Version20, new ByteArrayContent([0, 0, 0, 0, 0]));
        bare.Content!.Headers.ContentType = null;

        using var got = await http.SendAsync(get, default).WaitAsync(EchoServer.Patience);
        using var posted = await http.SendAsync(bare, default).WaitAsync(EchoServer.Patience);

        Assert.Contains(got.StatusCode, new[] { HttpStatusCode.NotFound, HttpStatusCode.MethodNotAllowed });
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, posted.StatusCode);
    }

    /// <summary>Nonsense that is close enough to frames to get past the first check now and then.</summary>
    private static byte[] RandomFrames(Random random)
    {
        var bytes = new List<byte>();
        for (var i = random.Next(4); i >= 0; i--)
        {
            var payload = new byte[random.Next(40)];
            random.NextBytes(payload);
            var claimed = random.Next(4) == 0 ? random.Next() : payload.Length;
            bytes.Add((byte)(random.Next(20) == 0 ? random.Next(256) : random.Next(2)));
            bytes.AddRange([(byte)(claimed >> 24), (byte)(claimed >> 16), (byte)(claimed >> 8), (byte)claimed]);
            bytes.AddRange(payload);
        }

        return [.. bytes];
    }

    private static HttpRequestMessage RawRequest(string address, Version version, HttpContent? content)
    {
        if (content is not null)
        {
            content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        }

        return new HttpRequestMessage(HttpMethod.Post, address)
        {
            Version = version,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
    }

    /// <summary>One message, the first half of another, and silence.</summary>
    private sealed class PartialContent : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync((byte[])[0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 9, 5]);
            await stream.FlushAsync();
            await new TaskCompletionSource().Task;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
