namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>A response as it came over HTTP/2.</summary>
public sealed class RawResponse(HttpResponseMessage response) : IDisposable
{
    public HttpResponseMessage Http => response;

    public Task<byte[]> BodyAsync() => response.Content.ReadAsByteArrayAsync().WaitAsync(EchoServer.Patience);

    public Task<string?> StatusAsync() => FindAsync("grpc-status");

    public Task<string?> MessageAsync() => FindAsync("grpc-message");

    public void Dispose() => response.Dispose();

    private async Task<string?> FindAsync(string name)
    {
        await BodyAsync();
        return response.TrailingHeaders.TryGetValues(name, out var values)
            || response.Headers.TryGetValues(name, out values)
            ? values.Single()
            : null;
    }
}
