using System.IO.Pipelines;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>
/// Writes responses straight into the body's pipe. A flush waits while the caller's HTTP/2 window or the connection is
/// full, which holds a fast handler back.
/// </summary>
internal sealed class ResponseWriter<T>(ServerCall call, Marshaller<T> marshaller) : IServerStreamWriter<T>
    where T : class
{
    /// <summary>A buffer hint is obeyed up to here; beyond, memory is worth more than a saved flush.</summary>
    private const long MostUnflushedBytes = 64 * 1024;

    private readonly HttpResponse _response = call.HttpContext.Response;
    private readonly PipeWriter _body = call.HttpContext.Response.BodyWriter;
    private int _isWriting;

    public WriteOptions? WriteOptions
    {
        get => call.WriteOptions;
        set => call.WriteOptions = value;
    }

    public Task WriteAsync(T message) => WriteAsync(message, default);

    public Task WriteAsync(T message, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (call.HasEnded)
        {
            throw new InvalidOperationException("The call has ended; no more responses can be written.");
        }

        if (Interlocked.Exchange(ref _isWriting, 1) != 0)
        {
            throw new InvalidOperationException(
                "The previous write is in progress; one response can be written at a time.");
        }

        var isLeftToFlush = false;
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            call.CancellationToken.ThrowIfCancellationRequested();
            var start = _response.HasStarted ? Task.CompletedTask : _response.StartAsync(cancellationToken);
            if (!start.IsCompletedSuccessfully)
            {
                isLeftToFlush = true;
                return StartAndWriteAsync(start, message, cancellationToken);
            }

            call.FrameWriter.Write(message, marshaller, call.CompressesNow);
            if (!NeedsFlush())
            {
                return Task.CompletedTask;
            }

            var flush = FlushAsync(cancellationToken);
            isLeftToFlush = !flush.IsCompleted;
            return isLeftToFlush ? FinishAsync(flush) : flush.AsTask();
        }
        finally
        {
            if (!isLeftToFlush)
            {
                Volatile.Write(ref _isWriting, 0);
            }
        }
    }

    /// <summary>Writes the one response of a call. The end of the call flushes it together with the status.</summary>
    public Task WriteSingleAsync(T? message)
    {
        if (message is null)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "The handler returned no message."));
        }

        call.CancellationToken.ThrowIfCancellationRequested();
        var start = _response.HasStarted ? Task.CompletedTask : _response.StartAsync(call.CancellationToken);
        if (!start.IsCompletedSuccessfully)
        {
            return WriteAfterAsync(start, message);
        }

        call.FrameWriter.Write(message, marshaller, call.CompressesNow);
        return Task.CompletedTask;
    }

    private async Task WriteAfterAsync(Task start, T message)
    {
        await start;
        call.FrameWriter.Write(message, marshaller, call.CompressesNow);
    }

    private async Task StartAndWriteAsync(Task start, T message, CancellationToken cancellationToken)
    {
        try
        {
            await start;
            call.FrameWriter.Write(message, marshaller, call.CompressesNow);
            if (NeedsFlush())
            {
                await FlushAsync(cancellationToken);
            }
        }
        finally
        {
            Volatile.Write(ref _isWriting, 0);
        }
    }

    private async Task FinishAsync(ValueTask flush)
    {
        try
        {
            await flush;
        }
        finally
        {
            Volatile.Write(ref _isWriting, 0);
        }
    }

    private bool NeedsFlush() =>
        ((WriteOptions?.Flags ?? default) & WriteFlags.BufferHint) == 0
        || !_body.CanGetUnflushedBytes
        || _body.UnflushedBytes >= MostUnflushedBytes;

    /// <summary>Allocates nothing while the pipe takes the bytes at once.</summary>
    private async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        var callToken = call.CancellationToken;
        if (!cancellationToken.CanBeCanceled || cancellationToken == callToken)
        {
            CheckFlush(await _body.FlushAsync(callToken));
            callToken.ThrowIfCancellationRequested();
            return;
        }

        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, callToken);
        CheckFlush(await _body.FlushAsync(both.Token));
        both.Token.ThrowIfCancellationRequested();
    }

    /// <summary>
    /// The body's pipe may report an aborted request as a finished flush, so the callers ask the token too
    /// (dotnet/aspnetcore issue 40788).
    /// </summary>
    private void CheckFlush(FlushResult result)
    {
        if (result.IsCanceled || result.IsCompleted)
        {
            call.MarkAborted();
            throw new OperationCanceledException("The caller is gone; the response was not sent.");
        }
    }
}
