using System.Net;
using System.Net.Http.Headers;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// One encoded request. The transport may send it again after a connection that never took it, and may still be sending
/// when the call ends, so the buffer is given back by whoever lets go of it last.
/// </summary>
internal sealed class SingleRequestContent : HttpContent
{
    private readonly PooledBuffer _frame;
    private int _users = 1;

    public SingleRequestContent(PooledBuffer frame, MediaTypeHeaderValue contentType)
    {
        _frame = frame;
        Headers.ContentType = contentType;
    }

    /// <summary>The call has ended.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0)
        {
            _frame.Release();
        }
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, default);

    protected override async Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        if (!TryUse())
        {
            throw new OperationCanceledException("The call has ended.");
        }

        try
        {
            await stream.WriteAsync(_frame.Written, cancellationToken);
        }
        finally
        {
            Release();
        }
    }

    /// <summary>Unknown, so that no content-length is sent: gRPC has its own lengths.</summary>
    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    private bool TryUse()
    {
        var users = Volatile.Read(ref _users);
        while (users > 0)
        {
            var seen = Interlocked.CompareExchange(ref _users, users + 1, users);
            if (seen == users)
            {
                return true;
            }

            users = seen;
        }

        return false;
    }
}
