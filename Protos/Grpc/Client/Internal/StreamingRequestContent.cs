using System.Net;
using System.Net.Http.Headers;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// The requests of a streaming call: hands the transport's stream to the writer, and stays until half-close.
/// </summary>
internal sealed class StreamingRequestContent : HttpContent
{
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile Target? _target;
    private volatile bool _hasWritten;

    public StreamingRequestContent(MediaTypeHeaderValue contentType)
    {
        Headers.ContentType = contentType;
    }

    /// <summary>
    /// The stream, once the transport has offered it. A continuation-free way for the writes that follow.
    /// </summary>
    public Target? Current => _target;

    /// <summary>Completes when <see cref="Current"/> is there; is cancelled when the call ends before.</summary>
    public Task Opened => _opened.Task;

    /// <summary>From the first byte on the request cannot be sent again on another connection.</summary>
    public void MarkWritten() => _hasWritten = true;

    public void Complete() => _completed.TrySetResult();

    /// <summary>The call has ended: whatever waits here stops.</summary>
    public void Abort()
    {
        _opened.TrySetCanceled();
        _completed.TrySetCanceled();
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, default);

    protected override async Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        if (_hasWritten)
        {
            throw new IOException(
                "The connection closed after a part of the requests was sent; they cannot be sent again.");
        }

        // The flush sends the headers, which the server may answer before the first request.
        await stream.FlushAsync(cancellationToken);
        _target = new Target(stream, cancellationToken);
        _opened.TrySetResult();
        await _completed.Task.WaitAsync(cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    /// <summary>The transport's stream with its own token: a write with that token needs no linked source.</summary>
    public sealed record Target(Stream Stream, CancellationToken Token);
}
