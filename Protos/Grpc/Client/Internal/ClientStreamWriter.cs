using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// Writes requests. A message goes straight into the transport's stream; those with a buffer hint gather in one buffer
/// and leave with the first that has none.
/// </summary>
internal sealed class ClientStreamWriter<TRequest, TResponse> : ExclusiveUse, IClientStreamWriter<TRequest>
    where TRequest : class
    where TResponse : class
{
    /// <summary>A buffer hint is obeyed up to here.</summary>
    private const int MostBufferedBytes = 64 * 1024;

    /// <summary>
    /// How long a write that fails because the server has ended the call waits for somebody to read the status, which
    /// comes after the responses.
    /// </summary>
    private static readonly TimeSpan StatusPatience = TimeSpan.FromSeconds(1);

    private readonly ClientCall<TRequest, TResponse> _call;
    private readonly StreamingRequestContent _content;
    private readonly Marshaller<TRequest> _marshaller;
    private readonly PooledBuffer _buffer = new();
    private readonly FrameWriter _frames;
    private bool _isCompleted;

    public ClientStreamWriter(
        ClientCall<TRequest, TResponse> call, StreamingRequestContent content, Marshaller<TRequest> marshaller)
    {
        _call = call;
        _content = content;
        _marshaller = marshaller;
        _frames = new FrameWriter(_buffer, call.Channel.Options.MaxSendMessageSize);
        WriteOptions = call.WriteOptions;
    }

    public WriteOptions? WriteOptions { get; set; }

    public Task WriteAsync(TRequest message) => WriteAsync(message, default);

    public Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (cancellationToken.IsCancellationRequested)
        {
            _call.Cancel();
        }

        if (!TryEnter())
        {
            return RefuseAsync("The previous write is in progress; one request can be written at a time.");
        }

        var isSending = false;
        try
        {
            if (_isCompleted)
            {
                throw new InvalidOperationException("The requests are complete; no more can be written.");
            }

            var flags = WriteOptions?.Flags ?? default;
            Encode(message, flags);
            if ((flags & WriteFlags.BufferHint) != 0 && _buffer.Length < MostBufferedBytes)
            {
                return Task.CompletedTask;
            }

            isSending = true;
            return SendAsync(cancellationToken);
        }
        finally
        {
            if (!isSending)
            {
                Exit();
            }
        }
    }

    public Task CompleteAsync()
    {
        if (!TryEnter())
        {
            return IsClosed
                ? Task.CompletedTask : RefuseAsync("The previous write is in progress; await it before the end.");
        }

        if (_isCompleted || _buffer.Length == 0)
        {
            _isCompleted = true;
            Exit();
            _content.Complete();
            return Task.CompletedTask;
        }

        _isCompleted = true;
        return SendAndCompleteAsync();
    }

    protected override void ReleaseBuffer() => _buffer.Release();

    private void Encode(TRequest message, WriteFlags flags)
    {
        var before = _buffer.Length;
        try
        {
            _frames.Write(message, _marshaller, _call.IsCompressed && (flags & WriteFlags.NoCompress) == 0);
        }
        catch
        {
            // The message is refused, what was gathered before it stands.
            _buffer.Truncate(before);
            throw;
        }
    }

    private async Task SendAndCompleteAsync()
    {
        await SendAsync(default);
        _content.Complete();
    }

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(
            static state => ((ClientCall)state!).Cancel(), _call);
        Exception? failure = null;
        try
        {
            if (_content.Current is not { } target)
            {
                await _content.Opened;
                target = _content.Current!;
            }

            _content.MarkWritten();
            await target.Stream.WriteAsync(_buffer.Written, target.Token);
            await target.Stream.FlushAsync(target.Token);
        }
        catch (Exception exception)
        {
            failure = exception;
        }
        finally
        {
            _buffer.Clear();
            Exit();
        }

        if (failure is not null)
        {
            throw await ExplainAsync(failure);
        }
    }

    private Task RefuseAsync(string whenBusy)
    {
        if (!IsClosed)
        {
            throw new InvalidOperationException(whenBusy);
        }

        return Task.FromException(_call.GetStatus().StatusCode == StatusCode.OK
            ? new InvalidOperationException("The call has ended with OK; no more requests can be written.")
            : _call.CreateException());
    }

    /// <summary>
    /// Finds the status behind a failed write. The transport alone does not know why the server ended the call.
    /// </summary>
    private async ValueTask<Exception> ExplainAsync(Exception failure)
    {
        var mayHaveStatus = failure is OperationCanceledException || StatusMap.IsStreamReset(failure);
        if (!mayHaveStatus)
        {
            _call.Fail(failure);
        }

        var patience = Task.Delay(StatusPatience, _call.Channel.TimeProvider);
        if (await Task.WhenAny(_call.Finished, patience) == patience)
        {
            var status = StatusMap.OfException(failure, _call.Channel.Address);
            return new RpcException(new Status(
                status.StatusCode,
                $"The server takes no more requests; read the responses for its status. {status.Detail}", failure));
        }

        return _call.GetStatus().StatusCode == StatusCode.OK
            ? new InvalidOperationException("The call has ended with OK; no more requests can be written.")
            : _call.CreateException();
    }
}
