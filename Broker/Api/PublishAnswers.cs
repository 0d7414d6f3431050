using System.Globalization;
using System.Threading.Channels;
using Broker.Protocol.Wire;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The answers of one publish stream: publishes end in any order and on any thread, one writer sends what is there. At
/// most so many are under way; beyond that the stream is not read, so that HTTP/2's flow control holds the sender back.
/// </summary>
internal sealed class PublishAnswers(int limit) : IPublishSink, IDisposable
{
    private static readonly WriteOptions Buffered = new(WriteFlags.BufferHint);
    private static readonly WriteOptions Flushed = new();

    private readonly SemaphoreSlim _slots = new(limit);
    private readonly Channel<PublishStreamResponse> _answers = Channel.CreateUnbounded<PublishStreamResponse>(
        new UnboundedChannelOptions { SingleReader = true }); // bounded by the slots

    private int _open = 1; // publishes without an answer, and one for the reader of requests

    public static RpcException ToRpcException(PublishStreamResponse refusal)
    {
        var trailers = new Metadata();
        if (refusal.RetryAfterMs > 0)
        {
            trailers.Add(
                StatusMap.RetryAfterTrailer, refusal.RetryAfterMs.ToString(CultureInfo.InvariantCulture));
        }

        return new RpcException(new Status((StatusCode)refusal.Status, refusal.Message), trailers);
    }

    public async Task ReserveAsync(CancellationToken cancellationToken)
    {
        await _slots.WaitAsync(cancellationToken);
        Interlocked.Increment(ref _open);
    }

    public void Answered(PublishStreamResponse response) => _answers.Writer.TryWrite(response);

    public void NoMoreRequests() => CloseOne();

    /// <summary>After the writer has ended; answers that still come are dropped with their call.</summary>
    public void Dispose() => _slots.Dispose();

    public async Task WriteAsync(IServerStreamWriter<PublishStreamResponse> writer, CancellationToken cancellationToken)
    {
        while (await _answers.Reader.WaitToReadAsync(cancellationToken))
        {
            while (_answers.Reader.TryRead(out var answer))
            {
                writer.WriteOptions = _answers.Reader.TryPeek(out _) ? Buffered : Flushed;
                await writer.WriteAsync(answer, cancellationToken);
                _slots.Release();
                CloseOne();
            }
        }
    }

    private void CloseOne()
    {
        if (Interlocked.Decrement(ref _open) == 0)
        {
            _answers.Writer.TryComplete();
        }
    }
}

/// <summary>The answer of a unary publish.</summary>
internal sealed class SingleAnswer : IPublishSink
{
    private readonly TaskCompletionSource<PublishStreamResponse> _answer = new(
        TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<PublishStreamResponse> Task => _answer.Task;

    public void Answered(PublishStreamResponse response) => _answer.TrySetResult(response);
}
