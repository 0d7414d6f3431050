using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// The life of one call on the client, whatever its message types. It ends once: with the server's status, with a
/// failure of the transport, at its deadline, or because the caller gives up. Whatever comes first is the call's status
/// for good.
/// </summary>
internal abstract class ClientCall : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly TaskCompletionSource _headersArrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenRegistration _callerRegistration;
    private readonly CancellationTokenRegistration _channelRegistration;
    private readonly ITimer? _deadlineTimer;
    private HttpResponseMessage? _response;
    private HttpResponseMessage? _headerSource;
    private Metadata? _responseHeaders;
    private Metadata? _trailers;
    private Status _status;
    private int _hasFinished;

    protected ClientCall(GrpcChannel channel, IMethod method, in CallOptions options)
    {
        channel.ThrowIfDisposed();
        Channel = channel;
        Method = method;
        Options = options;
        Timeout = MeasureTimeout(channel, options.Deadline);
        if (Timeout is { } timeout && timeout <= TimeSpan.Zero)
        {
            Finish(DeadlineExceeded);
            return;
        }

        if (Timeout <= GrpcTimeout.LongestTimer)
        {
            _deadlineTimer = channel.TimeProvider.CreateTimer(
                static state => ((ClientCall)state!).Finish(DeadlineExceeded),
                this,
                Timeout.Value,
                System.Threading.Timeout.InfiniteTimeSpan);
        }

        _callerRegistration = options.CancellationToken.UnsafeRegister(
            static state => ((ClientCall)state!).Cancel(), this);
        _channelRegistration = channel.Disposed.UnsafeRegister(
            static state => ((ClientCall)state!).Finish(new Status(StatusCode.Cancelled, "The channel was disposed.")),
            this);
        if (IsFinished)
        {
            ReleaseRegistrations();
        }
    }

    public GrpcChannel Channel { get; }

    public bool IsFinished => _finished.Task.IsCompleted;

    public Task Finished => _finished.Task;

    public Task<Metadata> ResponseHeadersAsync => GetResponseHeadersAsync();

    protected IMethod Method { get; }

    protected CallOptions Options { get; }

    /// <summary>The time that was left when the call began. Null: it has no deadline.</summary>
    protected TimeSpan? Timeout { get; }

    /// <summary>Cancelled when the call ends.</summary>
    public CancellationToken Lifetime => _source.Token;

    private static Status DeadlineExceeded => new(StatusCode.DeadlineExceeded, "Deadline exceeded.");

    public Status GetStatus() => IsFinished
        ? _status
        : throw new InvalidOperationException("The call has no status yet: it still runs.");

    public Metadata GetTrailers() => IsFinished
        ? _trailers ?? Metadata.Empty
        : throw new InvalidOperationException("The call has no trailers yet: it still runs.");

    public void Cancel() => Finish(new Status(StatusCode.Cancelled, "Call canceled by the client."));

    public void Dispose() => Finish(new Status(StatusCode.Cancelled, "The call was disposed."));

    /// <summary>Ends the call with what an exception means, unless it has ended already.</summary>
    public void Fail(Exception exception)
    {
        var trailers = exception is RpcException { Trailers.Count: > 0 } rpc ? rpc.Trailers : null;
        Finish(StatusMap.OfException(exception, Channel.Address), trailers);
    }

    public Exception CreateException()
    {
        var status = GetStatus();
        var isCancellation = status.StatusCode is StatusCode.Cancelled or StatusCode.DeadlineExceeded;
        var exception = new RpcException(status, GetTrailers());
        return isCancellation && Channel.Options.ThrowOperationCanceledOnCancellation
            ? new OperationCanceledException(status.Detail, exception, Options.CancellationToken)
            : exception;
    }

    protected bool Finish(Status status, Metadata? trailers = null)
    {
        if (Interlocked.Exchange(ref _hasFinished, 1) != 0)
        {
            return false;
        }

        _status = status;
        _trailers = trailers;
        _finished.TrySetResult();
        _headersArrived.TrySetResult();
        if (status.StatusCode != StatusCode.OK)
        {
            GrpcClientLog.CallFailed(
                Channel.Logger, Method.FullName, Channel.Address, status.StatusCode, status.Detail,
                status.DebugException);
        }

        ReleaseRegistrations();

        // Whatever HTTP still does for this call stops here; when all is done already, these have no effect.
        _source.Cancel();
        ReleaseBuffers();
        Interlocked.Exchange(ref _response, null)?.Dispose();
        return true;
    }

    /// <summary>Takes the response, of which the call disposes when it ends, be that now.</summary>
    protected void Attach(HttpResponseMessage response)
    {
        _response = response;
        _headerSource = response;
        _headersArrived.TrySetResult();
        if (IsFinished)
        {
            Interlocked.Exchange(ref _response, null)?.Dispose();
        }
    }

    protected abstract void ReleaseBuffers();

    private static TimeSpan? MeasureTimeout(GrpcChannel channel, DateTime? deadline)
    {
        if (deadline is not { } end || end == DateTime.MaxValue)
        {
            return null;
        }

        if (end.Kind != DateTimeKind.Utc && end != DateTime.MinValue)
        {
            throw new InvalidOperationException("The deadline must be a time in UTC.");
        }

        return end - channel.TimeProvider.GetUtcNow().UtcDateTime;
    }

    /// <summary>Unregister, not Dispose: the latter waits for callbacks, one of which may be running this.</summary>
    private void ReleaseRegistrations()
    {
        _deadlineTimer?.Dispose();
        _callerRegistration.Unregister();
        _channelRegistration.Unregister();
    }

    private async Task<Metadata> GetResponseHeadersAsync()
    {
        await _headersArrived.Task;
        return _headerSource is null ? throw CreateException() : _responseHeaders ??= ToMetadata(_headerSource.Headers);
    }

    protected static Metadata ToMetadata(System.Net.Http.Headers.HttpHeaders headers)
    {
        var metadata = new Metadata();
        foreach (var (name, values) in headers.NonValidated)
        {
            foreach (var value in values)
            {
                MetadataHeaders.Add(metadata, name, value);
            }
        }

        return metadata;
    }
}
