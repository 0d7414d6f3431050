using System.Buffers.Binary;
using System.IO.Compression;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>
/// gzip, as grpc/doc/compression.md has it: who asks for it, who is spared, what a hostile peer can do.
/// </summary>
public sealed class CompressionTests
{
    private const string Path = "/test.v1.Echo/Unary";
    private const string ChoiceKey = "grpc-internal-encoding-request";

    private static readonly byte[] Zeros = new byte[1000];

    private static byte[] Request => [0, 0, 0, 3, 232, .. Zeros];

    [Theory]
    [InlineData("gzip")]
    [InlineData("identity, deflate , gzip")]
    public async Task A_response_is_compressed_when_configured_and_accepted(string accepted)
    {
        await using var server = await EchoServer.StartAsync(Compressing);
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Request, acceptEncoding: accepted);

        var body = await response.BodyAsync();

        Assert.Equal("gzip", response.Http.Headers.GetValues("grpc-encoding").Single());
        Assert.Equal(1, body[0]);
        Assert.Equal(body.Length - 5, BinaryPrimitives.ReadInt32BigEndian(body.AsSpan(1)));
        Assert.Equal(Zeros, Unzip(body.AsMemory(5)));
        Assert.Equal("0", await response.StatusAsync());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("identity")]
    [InlineData("deflate, xgzip")]
    public async Task A_caller_that_does_not_accept_gzip_gets_none(string? accepted)
    {
        await using var server = await EchoServer.StartAsync(Compressing);
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Request, acceptEncoding: accepted);

        Assert.Equal(Request, await response.BodyAsync());
        Assert.False(response.Http.Headers.Contains("grpc-encoding"));
    }

    [Fact]
    public async Task A_server_that_is_not_configured_to_compress_does_not()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Request, acceptEncoding: "gzip");

        Assert.Equal(Request, await response.BodyAsync());
    }

    [Fact]
    public async Task A_handler_leaves_single_responses_uncompressed()
    {
        await using var server = await EchoServer.StartAsync(Compressing);
        server.Probe.OnCount = static async (_, responses, _) =>
        {
            await responses.WriteAsync([1]);
            responses.WriteOptions = new WriteOptions(WriteFlags.NoCompress);
            await responses.WriteAsync([2]);
        };
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(
            "/test.v1.Echo/Count", [0, 0, 0, 0, 1, 1], acceptEncoding: "gzip");

        var body = await response.BodyAsync();

        Assert.Equal(1, body[0]);
        Assert.Equal([0, 0, 0, 0, 1, 2], body[^6..]);
    }

    [Theory]
    [InlineData("gzip", false, 1)]
    [InlineData("identity", true, 0)]
    public async Task A_handler_chooses_for_its_own_call(string choice, bool isConfigured, byte flag)
    {
        await using var server = await EchoServer.StartAsync(isConfigured ? Compressing : null);
        server.Probe.OnUnary = async (request, context) =>
        {
            await context.WriteResponseHeadersAsync(new Metadata { { ChoiceKey, choice } });
            return request;
        };
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Request, acceptEncoding: "gzip");

        Assert.Equal(flag, (await response.BodyAsync())[0]);
        Assert.False(response.Http.Headers.Contains(ChoiceKey));
    }

    [Fact]
    public async Task An_empty_message_is_not_compressed()
    {
        await using var server = await EchoServer.StartAsync(Compressing);
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0], acceptEncoding: "gzip");

        Assert.Equal([0, 0, 0, 0, 0], await response.BodyAsync());
        Assert.Equal("0", await response.StatusAsync());
    }

    [Fact]
    public async Task An_unknown_algorithm_is_refused_at_the_start()
    {
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(
            () => EchoServer.StartAsync(options => options.ResponseCompressionAlgorithm = "br"));

        Assert.Contains("'br'", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(CompressionLevel.NoCompression)]
    [InlineData(CompressionLevel.SmallestSize)]
    public async Task All_kinds_of_calls_work_compressed_in_both_directions(CompressionLevel level)
    {
        await using var server = await EchoServer.StartAsync(options =>
        {
            Compressing(options);
            options.ResponseCompressionLevel = level;
        });
        var options = new CallOptions(new Metadata { { ChoiceKey, "gzip" } });
        var large = new byte[3 * 1024 * 1024];
        new Random(1).NextBytes(large.AsSpan(0, large.Length / 2));

        Assert.Equal(large, await server.Unary(large, options).ResponseAsync.WaitAsync(EchoServer.Patience));

        using var count = server.Count(100, options);
        Assert.Equal(100, await count.ResponseStream.ReadAllAsync().CountAsync());

        using var collect = server.Collect(options);
        using var chat = server.Chat(options);
        for (byte i = 0; i < 20; i++)
        {
            await collect.RequestStream.WriteAsync([i]);
            await chat.RequestStream.WriteAsync([i]);
            Assert.True(await chat.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
            Assert.Equal([i], chat.ResponseStream.Current);
        }

        await collect.RequestStream.CompleteAsync();
        Assert.Equal(20, (await collect.ResponseAsync.WaitAsync(EchoServer.Patience)).Length);
    }

    [Theory]
    [InlineData("gzip", "damaged", StatusCode.Internal)]
    [InlineData("gzip", "cut", StatusCode.Internal)]
    [InlineData("snappy", "whole", StatusCode.Internal)]
    [InlineData(null, "whole", StatusCode.Internal)]
    public async Task A_compressed_response_that_cannot_be_read_is_INTERNAL(
        string? encoding, string what, StatusCode expected)
    {
        var payload = Zip(Zeros);
        payload = what switch
        {
            "damaged" => [.. payload[..10], 0xff, .. payload[11..]],
            "cut" => payload[..^10],
            _ => payload,
        };
        await using var server = await EchoServer.StartAsync(map: app => app.MapPost(
            "/test.v1.Raw/Get",
            async (HttpContext http) =>
            {
                http.Response.ContentType = "application/grpc";
                if (encoding is not null)
                {
                    http.Response.Headers["grpc-encoding"] = encoding;
                }

                await http.Response.Body.WriteAsync((byte[])[1, 0, 0, 0, (byte)payload.Length, .. payload]);
                http.Response.AppendTrailer("grpc-status", "0");
            }));
        var method = new Method<byte[], byte[]>(
            MethodType.Unary, "test.v1.Raw", "Get", EchoService.Bytes, EchoService.Bytes);

        var failure = await EchoServer.FailureAsync(
            server.Calls.AsyncUnaryCall(method, null, default, [1]).ResponseAsync);

        Assert.Equal(expected, failure.StatusCode);
    }

    [Fact]
    public async Task A_request_that_is_cut_is_INTERNAL()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        var payload = Zip(Zeros)[..^10];
        using var response = await client.PostAsync(
            Path, [1, 0, 0, 0, (byte)payload.Length, .. payload], encoding: "gzip");

        Assert.Equal("13", await response.StatusAsync());
    }

    internal static void Compressing(global::Grpc.AspNetCore.Server.GrpcServiceOptions options) =>
        options.ResponseCompressionAlgorithm = "gzip";

    private static byte[] Zip(byte[] message)
    {
        using var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(message);
        }

        return output.ToArray();
    }

    private static byte[] Unzip(ReadOnlyMemory<byte> payload)
    {
        using var gzip = new GZipStream(new MemoryStream(payload.ToArray()), CompressionMode.Decompress);
        using var output = new MemoryStream();
        gzip.CopyTo(output);
        return output.ToArray();
    }
}
