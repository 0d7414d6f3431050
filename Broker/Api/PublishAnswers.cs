using System.Threading.Channels;
using Broker.Domain;
using Broker.Protocol.Wire;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The answers of one publish stream: publishes end in any order and on any thread, one writer sends what is there in
/// one message. At most so many are under way; beyond that the stream is not read, so that HTTP/2's flow control holds
/// the sender back.
/// </summary>
internal sealed class PublishAnswers(int limit) : IPublishSink, IDisposable
{
    /// <summary>What <see cref="_open"/> is while one publish is under way.</summary>
    private const int OneAlone = 2;

    private readonly SemaphoreSlim _slots = new(limit);

    // Bounded by the slots. The thread that applies an entry answers by itself what is alone under way.
    private readonly Channel<PublishResult> _answers = Channel.CreateUnbounded<PublishResult>(
        new UnboundedChannelOptions { SingleReader = true, AllowSynchronousContinuations = true });

    private int _open = 1; // publishes without an answer, and one for the reader of requests

    public async Task ReserveAsync(CancellationToken cancellationToken)
    {
        await _slots.WaitAsync(cancellationToken);
        Interlocked.Increment(ref _open);
    }

    public bool TryReserve()
    {
        if (!_slots.Wait(0))
        {
            return false;
        }

        Interlocked.Increment(ref _open);
        return true;
    }

    public void Answered(PublishResult response) => _answers.Writer.TryWrite(response);

    public void NoMoreRequests() => Close(1);

    /// <summary>After the writer has ended; answers that still come are dropped with their call.</summary>
    public void Dispose() => _slots.Dispose();

    public async Task WriteAsync(IServerStreamWriter<PublishStreamResponse> writer, CancellationToken cancellationToken)
    {
        var message = new PublishStreamResponse();
        while (await _answers.Reader.WaitToReadAsync(cancellationToken))
        {
            if (Volatile.Read(ref _open) > OneAlone)
            {
                // More answers come at this moment: they leave together, and not by the thread that makes them.
                await Task.Yield();
            }

            while (message.Results.Count < Limits.PublishesPerMessage && _answers.Reader.TryRead(out var answer))
            {
                message.Results.Add(answer);
            }

            await writer.WriteAsync(message, cancellationToken);
            var count = message.Results.Count;
            message.Results.Clear();
            _slots.Release(count);
            Close(count);
        }
    }

    private void Close(int count)
    {
        if (Interlocked.Add(ref _open, -count) == 0)
        {
            _answers.Writer.TryComplete();
        }
    }
}

/// <summary>The answer of a unary publish.</summary>
internal sealed class SingleAnswer : IPublishSink
{
    private readonly TaskCompletionSource<PublishResult> _answer = new(
        TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<PublishResult> Task => _answer.Task;

    public void Answered(PublishResult response) => _answer.TrySetResult(response);
}
