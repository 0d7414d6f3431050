using System.IO.Compression;
using System.Net;
using System.Text;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>The bytes on the wire, checked without the help of the client under test.</summary>
public sealed class ProtocolTests
{
    private const string Path = "/test.v1.Echo/Unary";

    [Fact]
    public async Task A_unary_call_is_one_frame_each_way_with_the_status_in_the_trailers()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 3, 97, 98, 99]);

        Assert.Equal(HttpStatusCode.OK, response.Http.StatusCode);
        Assert.Equal("application/grpc", response.Http.Content.Headers.ContentType!.ToString());
        Assert.Equal([0, 0, 0, 0, 3, 97, 98, 99], await response.BodyAsync());
        Assert.Equal("0", response.Http.TrailingHeaders.GetValues("grpc-status").Single());
    }

    [Fact]
    public async Task A_failure_before_any_response_is_trailers_only_with_an_encoded_message()
    {
        await using var server = await EchoServer.StartAsync();
        server.Probe.OnUnary = static (_, _) => throw new RpcException(new Status(StatusCode.NotFound, "ä 5%"));
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0]);

        Assert.Equal("5", response.Http.Headers.GetValues("grpc-status").Single());
        Assert.Equal("%C3%A4 5%25", response.Http.Headers.GetValues("grpc-message").Single());
        Assert.Empty(await response.BodyAsync());
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("application/grpc-web")]
    public async Task Another_content_type_is_415(string contentType)
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0], contentType);

        Assert.Equal(HttpStatusCode.UnsupportedMediaType, response.Http.StatusCode);
    }

    [Theory]
    [InlineData("application/grpc+proto")]
    [InlineData("application/grpc;charset=utf-8")]
    public async Task The_content_type_may_say_more(string contentType)
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0], contentType);

        Assert.Equal("0", await response.StatusAsync());
    }

    [Theory]
    [InlineData(new byte[] { 2, 0, 0, 0, 0 }, "13")]
    [InlineData(new byte[] { 0, 0, 0, 0, 9, 1 }, "13")]
    [InlineData(new byte[] { 0, 0, 0 }, "13")]
    [InlineData(new byte[0], "13")]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, "13")]
    [InlineData(new byte[] { 1, 0, 0, 0, 1, 5 }, "13")]
    [InlineData(new byte[] { 0, 255, 255, 255, 255, 1 }, "8")]
    public async Task A_malformed_request_is_refused(byte[] body, string expected)
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, body);

        Assert.Equal(expected, await response.StatusAsync());
    }

    [Theory]
    [InlineData(new byte[] { 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 9, 5 })]
    [InlineData(new byte[] { 0, 0, 0, 0, 1, 5, 0, 0 })]
    public async Task A_stream_that_ends_inside_a_message_is_INTERNAL(byte[] body)
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync("/test.v1.Echo/Collect", body);

        Assert.Equal("13", await response.StatusAsync());
    }

    [Fact]
    public async Task A_gzipped_request_is_understood()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Gzipped(Encoding.ASCII.GetBytes("hello")), encoding: "gzip");

        Assert.Equal("0", await response.StatusAsync());
        Assert.Equal([0, 0, 0, 0, 5, .. "hello"u8], await response.BodyAsync());
    }

    [Fact]
    public async Task A_gzipped_request_that_unfolds_beyond_the_limit_is_RESOURCE_EXHAUSTED()
    {
        await using var server = await EchoServer.StartAsync(options => options.MaxReceiveMessageSize = 10_000);
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, Gzipped(new byte[1_000_000]), encoding: "gzip");

        Assert.Equal("8", await response.StatusAsync());
    }

    [Fact]
    public async Task A_gzipped_request_that_is_damaged_is_INTERNAL()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [1, 0, 0, 0, 4, 1, 2, 3, 4], encoding: "gzip");

        Assert.Equal("13", await response.StatusAsync());
    }

    [Fact]
    public async Task An_unknown_encoding_is_UNIMPLEMENTED_and_the_known_ones_are_named()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [1, 0, 0, 0, 1, 5], encoding: "snappy");

        Assert.Equal("12", await response.StatusAsync());
        Assert.Contains(
            "gzip", response.Http.Headers.GetValues("grpc-accept-encoding").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_client_sends_gzip_when_asked_to()
    {
        await using var server = await EchoServer.StartAsync();
        var headers = new Metadata { { "grpc-internal-encoding-request", "gzip" } };
        var message = new byte[100_000];

        Assert.Equal(message,
            await server.Unary(message, new CallOptions(headers)).ResponseAsync.WaitAsync(EchoServer.Patience));
    }

    [Theory]
    [InlineData("abc")]
    [InlineData("123456789S")]
    public async Task A_timeout_that_cannot_be_read_is_refused(string timeout)
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0], timeout: timeout);

        Assert.Equal("3", await response.StatusAsync());
    }

    [Fact]
    public async Task A_timeout_of_a_thousand_years_is_no_deadline_in_sight()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync(Path, [0, 0, 0, 0, 0], timeout: "99999999H");

        Assert.Equal("0", await response.StatusAsync());
    }

    [Fact]
    public async Task Requests_that_are_not_gRPC_reach_the_rest_of_the_application()
    {
        await using var server = await EchoServer.StartAsync();
        using var http = new HttpClient
        {
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };

        Assert.Equal("plain", await http.GetStringAsync(new Uri(server.Address + "/plain")));
        using var missing = await http.GetAsync(new Uri(server.Address + "/no/where"));
        Assert.Equal(HttpStatusCode.NotFound, missing.StatusCode);
    }

    [Fact]
    public async Task A_service_nobody_knows_is_UNIMPLEMENTED()
    {
        await using var server = await EchoServer.StartAsync();
        using var client = new RawClient(server.Address);
        using var response = await client.PostAsync("/no.such.Service/Method", [0, 0, 0, 0, 0]);

        Assert.Equal(HttpStatusCode.OK, response.Http.StatusCode);
        Assert.Equal("12", await response.StatusAsync());
        Assert.Contains("/no.such.Service/Method", await response.MessageAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no status", new byte[] { 0, 0, 0, 0, 1, 5 }, StatusCode.Internal)]
    [InlineData("part", new byte[] { 0, 0, 0, 0, 9, 5 }, StatusCode.Internal)]
    public async Task The_client_tells_a_broken_response(string what, byte[] body, StatusCode expected)
    {
        await using var server = await EchoServer.StartAsync(map: app => app.MapPost(
            "/test.v1.Raw/Get",
            async (HttpContext http) =>
            {
                http.Response.ContentType = "application/grpc";
                await http.Response.Body.WriteAsync(body);
            }));
        var method = new Method<byte[], byte[]>(
            MethodType.Unary, "test.v1.Raw", "Get", EchoService.Bytes, EchoService.Bytes);

        var failure = await EchoServer.FailureAsync(
            server.Calls.AsyncUnaryCall(method, null, default, [1]).ResponseAsync);

        Assert.True(expected == failure.StatusCode, $"{what}: {failure.Status}");
    }

    [Fact]
    public async Task The_client_tells_a_response_that_is_not_gRPC()
    {
        await using var server = await EchoServer.StartAsync(
            map: app => app.MapPost("/test.v1.Raw/Text", () => "hello"));
        var method = new Method<byte[], byte[]>(
            MethodType.Unary, "test.v1.Raw", "Text", EchoService.Bytes, EchoService.Bytes);

        var failure = await EchoServer.FailureAsync(
            server.Calls.AsyncUnaryCall(method, null, default, [1]).ResponseAsync);

        Assert.Equal(StatusCode.Unknown, failure.StatusCode);
        Assert.Contains("text/plain", failure.Status.Detail, StringComparison.Ordinal);
    }

    private static byte[] Gzipped(byte[] message)
    {
        using var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(message);
        }

        var payload = output.ToArray();
        var length = payload.Length;
        return [1, (byte)(length >> 24), (byte)(length >> 16), (byte)(length >> 8), (byte)length, .. payload];
    }
}
