using Broker.Client.Publishing;
using Broker.Client.Tracing;
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

    /// <summary>
    /// A publish that follows the last write so closely belongs to a stream of them; one that awaits each answer never
    /// does, since an answer takes longer.
    /// </summary>
    private static readonly TimeSpan GatherWithin = TimeSpan.FromMicroseconds(50);

    private static readonly WriteOptions Buffered = new(WriteFlags.BufferHint);
    private static readonly WriteOptions Flushed = new();

    private static ulong _lastCorrelation;

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, PublishBatch> _awaited = [];
    private readonly Queue<(Wire.PublishStreamRequest Request, PublishBatch Batch)> _outbox = new();
    private readonly AsyncDuplexStreamingCall<Wire.PublishStreamRequest, Wire.PublishStreamResponse> _call;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private bool _writing;
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
        var request = new Wire.PublishStreamRequest
        {
            Correlation = correlation,
            Publish = new Wire.PublishRequest
            {
                Topic = batch.Producer.Topic,
                Batch = UnsafeByteOperations.UnsafeWrap(batch.Encoded),
                Producer = new Wire.ProducerStamp { Id = stamp.Id, Epoch = stamp.Epoch, Sequence = stamp.Sequence },
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
            _outbox.Enqueue((request, batch));
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
            if (_writing || _broken || _outbox.Count == 0)
            {
                return;
            }

            _writing = true;
            busy = _time.GetElapsedTime(_lastWriteAt) < GatherWithin;
        }

        _ = WriteAsync(gather: busy);
    }

    /// <summary>Ends the stream and tells every batch that waits for an answer.</summary>
    public void Break(string failure, bool maybeStored, bool hangs)
    {
        KeyValuePair<ulong, PublishBatch>[] awaited;
        (Wire.PublishStreamRequest Request, PublishBatch Batch)[] unwritten;
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

        Connection.Failed(hangs);
        ClientLog.StreamBroken(_logger, Connection.Address, awaited.Length, failure);
        var unsent = unwritten.Select(static u => u.Request.Correlation).ToHashSet();
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

            while (true)
            {
                (Wire.PublishStreamRequest Request, PublishBatch Batch) next;
                bool more;
                lock (_lock)
                {
                    if (!_outbox.TryDequeue(out next))
                    {
                        _writing = false;
                        _lastWriteAt = _time.GetTimestamp();
                        return;
                    }

                    more = _outbox.Count > 0;
                }

                try
                {
                    _call.RequestStream.WriteOptions = more ? Buffered : Flushed;
                    await _call.RequestStream.WriteAsync(next.Request);
                }
                finally
                {
                    next.Batch.Release();
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
            maybeStored: !NeverConnected(error),
            hangs: false);
    }

    private void OnResponse(Wire.PublishStreamResponse response)
    {
        PublishBatch? batch;
        lock (_lock)
        {
            _lastHeardAt = _time.GetTimestamp();
            _awaited.Remove(response.Correlation, out batch);
        }

        Connection.Worked();
        batch?.Producer.OnAnswer(batch, response.Correlation, response, Connection);
    }

    /// <summary>Whether no connection came about, so that surely nothing reached the broker.</summary>
    private static bool NeverConnected(Exception error) =>
        error is RpcException { Status.DebugException: HttpRequestException inner } && inner is
        {
            HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError
            or HttpRequestError.SecureConnectionError
        };
}
