using Broker.Client.Publishing;
using Broker.Client.Tracing;
using Broker.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Connections;

/// <summary>
/// One life of a PublishStream call. Batches are written in the order in which they were given; answers find their
/// batch by the correlation id. When it breaks, every batch without an answer is told, once, and it is never used
/// again.
/// </summary>
internal sealed class PublishStream
{
    /// <summary>Writes that one caller does in a row for others before the thread pool takes over.</summary>
    private const int WritesInline = 16;

    /// <summary>Publishes in one message: what the contract allows.</summary>
    private const int PublishesPerMessage = 1_024;

    /// <summary>
    /// Bytes of batches in one message, unless a single one is larger: a quarter of what the contract allows, as the
    /// broker begins with a message when all of it is there.
    /// </summary>
    private const int BatchBytesPerMessage = 1024 * 1024;

    /// <summary>
    /// A publish that follows the last write so closely belongs to a stream of them; one that awaits each answer never
    /// does, since an answer takes longer.
    /// </summary>
    private static readonly TimeSpan GatherWithin = TimeSpan.FromMicroseconds(50);

    private static ulong _lastCorrelation;

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, PublishBatch> _awaited = [];
    private readonly Queue<(Wire.StreamedPublish Publish, PublishBatch Batch)> _outbox = new();

    /// <summary>The message that is written, and whose bytes it borrows. Only the one writer touches them.</summary>
    private readonly Wire.PublishStreamRequest _message = new();
    private readonly List<PublishBatch> _borrowed = [];
    private readonly AsyncDuplexStreamingCall<Wire.PublishStreamRequest, Wire.PublishStreamResponse> _call;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private bool _writing;
    private bool _answering;
    private volatile bool _broken;
    private long _lastHeardAt;
    private long _lastWriteAt;

    public PublishStream(BrokerConnection connection, TimeProvider time, ILogger logger)
    {
        Connection = connection;
        _time = time;
        _logger = logger;
        using var pause = MessageSpan.LeaveTrace(); // of the publish that opens what many will use
        _call = connection.Messages.PublishStream();

        // Not started inline: producers open streams under their lock, and an answer wants that lock.
        _ = Task.Run(ReadAsync);
    }

    public BrokerConnection Connection { get; }

    public bool IsBroken => _broken;

    /// <summary>Queues a batch; false when the stream is broken. Call <see cref="Flush"/> outside of locks.</summary>
    public bool TrySend(PublishBatch batch, long now, bool behindOthers)
    {
        var correlation = Interlocked.Increment(ref _lastCorrelation);
        var stamp = batch.Stamp;
        var partition = batch.Producer.Partition;
        var publish = new Wire.StreamedPublish
        {
            Correlation = correlation,
            Publish = new Wire.PublishRequest
            {
                Topic = batch.Producer.Topic,
                Batch = UnsafeByteOperations.UnsafeWrap(batch.Encoded),
                Producer = new Wire.ProducerStamp { Id = stamp.Id, Epoch = stamp.Epoch, Sequence = stamp.Sequence },
                Partition = batch.NamesPartition && partition >= 0 ? (uint)partition : null,
            },
        };
        lock (_lock)
        {
            if (_broken)
            {
                return false;
            }

            batch.Sent(correlation, now, behindOthers);
            batch.AddReference();
            _awaited.Add(correlation, batch);
            _outbox.Enqueue((publish, batch));
            return true;
        }
    }

    /// <summary>
    /// Writes what is queued, on this thread while nobody else does: a publish costs no change of thread.
    /// </summary>
    public void Flush()
    {
        bool busy;
        lock (_lock)
        {
            if (_writing || _answering || _broken || _outbox.Count == 0)
            {
                return;
            }

            _writing = true;
            busy = _time.GetElapsedTime(_lastWriteAt) < GatherWithin;
        }

        _ = WriteAsync(gather: busy);
    }

    /// <summary>Ends the stream and tells every batch that waits for an answer.</summary>
    /// <param name="failure">What happened, in words.</param>
    /// <param name="maybeStored">Whether the broker may have what was written.</param>
    /// <param name="hangs">Whether it keeps the connection and does not answer.</param>
    /// <param name="isAnswer">Whether the broker itself has ended it, so that it is there.</param>
    public void Break(string failure, bool maybeStored, bool hangs, bool isAnswer = false)
    {
        KeyValuePair<ulong, PublishBatch>[] awaited;
        (Wire.StreamedPublish Publish, PublishBatch Batch)[] unwritten;
        lock (_lock)
        {
            if (_broken)
            {
                return;
            }

            _broken = true;
            awaited = [.. _awaited.OrderBy(static a => a.Key)];
            unwritten = [.. _outbox];
            _awaited.Clear();
            _outbox.Clear();
        }

        Connection.Failed(hangs, isAnswer ? null : failure);
        ClientLog.StreamBroken(_logger, Connection.Address, awaited.Length, failure);
        var unsent = unwritten.Select(static u => u.Publish.Correlation).ToHashSet();
        foreach (var (correlation, batch) in awaited)
        {
            var stored = maybeStored && !unsent.Contains(correlation);
            batch.Producer.OnNoAnswer(batch, correlation, $"{Connection.Address}: {failure}", stored, Connection);
        }

        foreach (var (_, batch) in unwritten)
        {
            batch.Release();
        }

        _call.Dispose();
    }

    /// <summary>
    /// Leaves a broker that owes answers for too long: batch by batch while it answers others, else altogether.
    /// </summary>
    public void CheckSilence(long now)
    {
        List<KeyValuePair<ulong, PublishBatch>>? overdue = null;
        var hangs = false;
        lock (_lock)
        {
            foreach (var awaited in _awaited)
            {
                var patience = Connection.Options.AnswerTimeout * (1 << awaited.Value.PatienceDoublings);
                var tooLong = _time.GetElapsedTime(awaited.Value.SentAt, now) >= patience;
                hangs |= tooLong;
                if (tooLong || awaited.Value.DeadlineAt <= now)
                {
                    (overdue ??= []).Add(awaited);
                }
            }

            hangs &= _time.GetElapsedTime(_lastHeardAt, now) >= Connection.Options.AnswerTimeout;
            if (overdue is not null && !hangs)
            {
                overdue.ForEach(o => _awaited.Remove(o.Key));
            }
        }

        if (overdue is null)
        {
            return;
        }

        if (hangs)
        {
            var waited = _time.GetElapsedTime(overdue.Min(static o => o.Value.SentAt), now).TotalMilliseconds;
            Break($"no answer for {waited:N0} ms", maybeStored: true, hangs: true);
            return;
        }

        foreach (var (correlation, batch) in overdue.OrderBy(static o => o.Key))
        {
            var silence = _time.GetElapsedTime(batch.SentAt, now).TotalMilliseconds;
            var failure = $"{Connection.Address}: no answer for {silence:N0} ms";
            batch.Producer.OnNoAnswer(batch, correlation, failure, maybeStored: true, Connection);
        }
    }

    private async Task WriteAsync(bool gather)
    {
        var inline = 0;
        try
        {
            if (gather)
            {
                // In a stream of publishes the change of thread lets more of them come, and they leave together.
                await Task.Yield();
            }

            while (TryFill())
            {
                try
                {
                    await _call.RequestStream.WriteAsync(_message);
                }
                finally
                {
                    _borrowed.ForEach(static batch => batch.Release());
                    _borrowed.Clear();
                    _message.Publishes.Clear();
                }

                if (++inline % WritesInline == 0)
                {
                    await Task.Yield();
                }
            }
        }
        catch (Exception error)
        {
            Break(error);
        }
    }

    /// <summary>
    /// Puts what waits into the message; false when nothing does, and then the next publish finds no writer.
    /// </summary>
    private bool TryFill()
    {
        lock (_lock)
        {
            var bytes = 0;
            while (_message.Publishes.Count < PublishesPerMessage && _outbox.TryPeek(out var next))
            {
                bytes += next.Batch.SizeBytes;
                if (_message.Publishes.Count > 0 && bytes > BatchBytesPerMessage)
                {
                    break;
                }

                _message.Publishes.Add(next.Publish);
                _borrowed.Add(next.Batch);
                _outbox.Dequeue();
            }

            if (_borrowed.Count > 0)
            {
                return true;
            }

            _writing = false;
            _lastWriteAt = _time.GetTimestamp();
            return false;
        }
    }

    private async Task ReadAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(CancellationToken.None))
            {
                OnResponse(_call.ResponseStream.Current);
            }

            Break("it ended the stream", maybeStored: true, hangs: false);
        }
        catch (Exception error)
        {
            Break(error);
        }
    }

    /// <summary>
    /// Whatever ended a loop of the stream, its batches go elsewhere; a break that was meant is no news.
    /// </summary>
    private void Break(Exception error)
    {
        ClientLog.StreamEnded(_logger, Connection.Address, error.Message);
        Break(
            error is RpcException rpc
                ? $"{rpc.StatusCode}: {rpc.Status.Detail}"
                : $"{error.GetType().Name}: {error.Message}",
            maybeStored: !Sockets.NeverConnected(error),
            hangs: false,
            isAnswer: error is RpcException answer && ClientErrors.ReasonOf(answer).Length > 0);
    }

    private void OnResponse(Wire.PublishStreamResponse response)
    {
        lock (_lock)
        {
            _lastHeardAt = _time.GetTimestamp();
            _answering = true;
        }

        Connection.Worked();
        for (var i = 0; i < response.Results.Count; i++)
        {
            OnResult(response.Results[i]);
        }

        // What these answers let go leaves together.
        lock (_lock)
        {
            _answering = false;
        }

        Flush();
    }

    private void OnResult(Wire.PublishResult result)
    {
        PublishBatch? batch;
        lock (_lock)
        {
            _awaited.Remove(result.Correlation, out batch);
        }

        batch?.Producer.OnAnswer(batch, result.Correlation, result, Connection);
    }
}
