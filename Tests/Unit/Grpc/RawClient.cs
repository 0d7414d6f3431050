using System.Net;
using System.Net.Http.Headers;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>Sends hand-made HTTP/2 requests, as a foreign or faulty client would.</summary>
public sealed class RawClient(string address) : IDisposable
{
    private readonly HttpMessageInvoker _http = new(new SocketsHttpHandler());

    public Task<RawResponse> PostAsync(
        string path, byte[] body, string contentType = "application/grpc", string? encoding = null,
        string? timeout = null, string? acceptEncoding = null) =>
        SendAsync(path, new ByteArrayContent(body), contentType, encoding, timeout, acceptEncoding);

    /// <summary>A request whose body never ends.</summary>
    public Task<RawResponse> StartStreamAsync(string path, string? timeout = null) =>
        SendAsync(path, new EndlessContent(), "application/grpc", encoding: null, timeout, acceptEncoding: null);

    public void Dispose() => _http.Dispose();

    private async Task<RawResponse> SendAsync(
        string path,
        HttpContent content,
        string contentType,
        string? encoding,
        string? timeout,
        string? acceptEncoding)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, address + path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(contentType);
        request.Headers.TE.ParseAdd("trailers");
        if (encoding is not null)
        {
            request.Headers.Add("grpc-encoding", encoding);
        }

        if (timeout is not null)
        {
            request.Headers.Add("grpc-timeout", timeout);
        }

        if (acceptEncoding is not null)
        {
            request.Headers.Add("grpc-accept-encoding", acceptEncoding);
        }

        return new RawResponse(await _http.SendAsync(request, default).WaitAsync(EchoServer.Patience));
    }

    private sealed class EndlessContent : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
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
