using Broker.Client.Connections;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Consuming;

/// <summary>
/// A consumer's stream: what to do when the broker that serves it fails, and what it may be sent. What it holds of a
/// stream before counts still.
/// </summary>
internal sealed class GroupRead : IAsyncDisposable
{
    private const int PartsOfWindow = 4;

    private static readonly TimeSpan ExpiryInterval = TimeSpan.FromSeconds(1);

    private readonly string _group;
    private readonly ConsumeOptions _consumer;
    private readonly BrokerConnections _connections;
    private readonly BrokerClientOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly string _what;
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _freed = new(0);
    private readonly CancellationTokenSource _end = new();
    private readonly CancellationTokenSource _noCredit = new();
    private Task _crediting = Task.CompletedTask;
    private AsyncDuplexStreamingCall<Wire.ConsumeRequest, Wire.ConsumeResponse>? _call;
    private BrokerConnection? _from;
    private CreditWindow _window = new(0);
    private long _progressAt;
    private int _failures;

    // Of the consumer's window: what is free here, what the broker may still send, and what came and nobody has taken.
    private int _freeRecords;
    private long _freeBytes;
    private int _grantedRecords;
    private long _grantedBytes;
    private int _unread;

    public GroupRead(
        string group,
        ConsumeOptions consumer,
        BrokerConnections connections,
        BrokerClientOptions options,
        TimeProvider time,
        ILogger logger)
    {
        (_group, _consumer, _connections, _options, _time, _logger) =
            (group, consumer, connections, options, time, logger);
        _what = $"Consuming for group '{group}'";
        _progressAt = time.GetTimestamp();
    }

    public TimeSpan AckWait { get; private set; }

    /// <summary>Ends when a broker has taken the consumer.</summary>
    /// <exception cref="BrokerClientException">A request that cannot be, or nobody takes it in time.</exception>
    public async ValueTask BeginAsync(CancellationToken cancellationToken)
    {
        await OpenAsync(isFirst: true, cancellationToken);
        _crediting = GiveCreditAsync();
    }

    /// <summary>What comes next, by whichever broker.</summary>
    /// <exception cref="BrokerClientException">GroupDeleted, or what no broker can do.</exception>
    public async ValueTask<(Wire.Delivery Delivery, HeldDelivery Held)> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Free(0, 0);
            if (await MoveNextAsync(isFirst: false, cancellationToken) is not { } response)
            {
                await OpenAsync(isFirst: false, cancellationToken);
            }
            else if (response.Delivery is { } delivery)
            {
                var (records, bytes) = ((int)delivery.Count, delivery.Batch.Length);
                lock (_lock)
                {
                    _grantedRecords -= records;
                    _grantedBytes -= bytes;
                    _unread += records;
                }

                var held = _window.Take(delivery.Token, records, bytes, Environment.TickCount64);
                return (delivery, new HeldDelivery(this, held));
            }
        }
    }

    /// <summary>A record goes to who enumerates.</summary>
    public void HandedOut() => Interlocked.Decrement(ref _unread);

    /// <summary>One record of a delivery makes room in the window.</summary>
    public void FreeOne(OutDelivery delivery)
    {
        var (records, bytes) = _window.GiveBackOne(delivery);
        Free(records, bytes);
    }

    /// <summary>The consumer keeps records for longer.</summary>
    /// <param name="delivery">Theirs.</param>
    /// <param name="lease">From now on; null: as long as at first.</param>
    public void Extend(OutDelivery delivery, TimeSpan? lease) =>
        _window.Extend(delivery.Token, (long?)lease?.TotalMilliseconds, Environment.TickCount64);

    /// <summary>
    /// Has the broker send nothing more, and takes what is on its way; nobody takes deliveries meanwhile. A broker that
    /// does not answer is left: what is on its way comes again when its lease ends.
    /// </summary>
    public async Task<IReadOnlyList<Wire.Delivery>> StopAsync(CancellationToken cancellationToken)
    {
        await StopCreditAsync();
        var last = new List<Wire.Delivery>();
        try
        {
            await _call!.RequestStream.CompleteAsync();
            while (await _call.ResponseStream.MoveNext(cancellationToken))
            {
                if (_call.ResponseStream.Current.Delivery is { } delivery)
                {
                    last.Add(delivery);
                }
            }
        }
        catch (Exception failure) when (
            failure is RpcException or InvalidOperationException or IOException or OperationCanceledException)
        {
            ClientLog.CallFailed(_logger, _what, _from!.Address, failure.Message);
        }

        return last;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _call?.Dispose();
        await StopCreditAsync();
    }

    private async Task StopCreditAsync()
    {
        await _noCredit.CancelAsync();
        await _crediting;
    }

    /// <summary>
    /// So much of the window is free. The broker is told in large parts, for each part costs it a delivery: of a
    /// quarter of the window, or when there is less to work on than is free.
    /// </summary>
    private void Free(int records, long bytes)
    {
        bool isDue;
        lock (_lock)
        {
            _freeRecords += records;
            _freeBytes += bytes;
            isDue = _freeRecords > 0 && (
                _freeRecords >= Math.Min(_consumer.MaxUnsettledRecords / PartsOfWindow, _grantedRecords + _unread)
                || _freeBytes >= Math.Min(_consumer.MaxUnsettledBytes / PartsOfWindow, _grantedBytes));
        }

        if (isDue && _freed.CurrentCount == 0 && !_noCredit.IsCancellationRequested)
        {
            _freed.Release();
        }
    }

    private async ValueTask OpenAsync(bool isFirst, CancellationToken cancellationToken)
    {
        while (true)
        {
            _call?.Dispose();
            _from = Choose();
            _call = _from.Messages.Consume(cancellationToken: _end.Token);
            if (await MoveNextAsync(isFirst, cancellationToken, Open(isFirst)) is { Opened: { } opened })
            {
                if (isFirst)
                {
                    AckWait = TimeSpan.FromMilliseconds(opened.AckWaitMs);
                    _window = new CreditWindow((long)opened.AckWaitMs);
                }

                return;
            }
        }
    }

    private BrokerConnection Choose()
    {
        var next = _connections.Next();
        return next == _from && _failures > 0 ? _connections.Next() : next;
    }

    /// <summary>The filters make a group; one that was deleted meanwhile is not made again.</summary>
    private Wire.ConsumeRequest Open(bool isFirst)
    {
        _window.Expire(Environment.TickCount64);
        var (records, bytes) = _window.Out;
        records = Math.Max(0, _consumer.MaxUnsettledRecords - records);
        bytes = Math.Max(0, _consumer.MaxUnsettledBytes - bytes);
        lock (_lock)
        {
            (_freeRecords, _freeBytes) = (0, 0);
            (_grantedRecords, _grantedBytes) = (records, bytes);
        }

        var open = new Wire.ConsumeOpen
        {
            Group = _group,
            Mode = (Wire.GroupMode)(_consumer.Mode ?? 0),
            Consumer = _consumer.Consumer ?? _options.ClientName,
            Credit = new Wire.Credit { Records = (uint)records, Bytes = (ulong)bytes },
        };
        open.Filters.AddRange(isFirst ? _consumer.Filters ?? [] : []);
        return new Wire.ConsumeRequest { Open = open };
    }

    /// <summary>Null: this stream has ended, and another one may do better.</summary>
    private async ValueTask<Wire.ConsumeResponse?> MoveNextAsync(
        bool isFirst, CancellationToken cancellationToken, Wire.ConsumeRequest? open = null)
    {
        try
        {
            if (open is not null)
            {
                await TryWriteAsync(open, cancellationToken);
            }

            if (await _call!.ResponseStream.MoveNext(cancellationToken))
            {
                _progressAt = _time.GetTimestamp();
                _failures = 0;
                _from!.Worked();
                return _call.ResponseStream.Current;
            }

            _failures++;  // It has no end of its own: the broker shuts down.
        }
        catch (RpcException error) when (
            cancellationToken.IsCancellationRequested && error.StatusCode == StatusCode.Cancelled)
        {
            throw new OperationCanceledException("The consumer's enumeration was cancelled.", error, cancellationToken);
        }
        catch (Exception failure) when (
            _end.IsCancellationRequested && failure is RpcException or InvalidOperationException)
        {
            throw new ObjectDisposedException(nameof(GroupConsumer), failure);
        }
        catch (RpcException error)
        {
            _failures++;
            ClientLog.CallFailed(_logger, _what, _from!.Address, $"{error.StatusCode}: {error.Status.Detail}");
            var gaveUp = isFirst && _time.GetElapsedTime(_progressAt) >= _options.OperationTimeout;
            if (gaveUp || error.StatusCode is StatusCode.InvalidArgument or StatusCode.NotFound
                or StatusCode.FailedPrecondition or StatusCode.AlreadyExists or StatusCode.PermissionDenied
                or StatusCode.Unauthenticated or StatusCode.Unimplemented
                || (isFirst && ClientErrors.ReasonOf(error) == ClientErrors.LimitReached))
            {
                throw ClientErrors.ConsumeFailed(_what, _failures, _from.Address, error, gaveUp, isFirst);
            }

            _from.Failed(error);
        }

        if (_failures > _connections.All.Count)
        {
            await Task.Delay(RetryDelay.After(_time.GetElapsedTime(_progressAt), _options), _time, cancellationToken);
        }

        return null;
    }

    /// <summary>A call that has ended already says by its status why.</summary>
    private async ValueTask TryWriteAsync(Wire.ConsumeRequest request, CancellationToken cancellationToken)
    {
        try
        {
            await _call!.RequestStream.WriteAsync(request, cancellationToken);
        }
        catch (Exception failure) when (failure is RpcException or InvalidOperationException or IOException)
        {
            ClientLog.CallFailed(_logger, _what, _from!.Address, failure.Message);
        }
    }

    /// <summary>
    /// Gives the broker credit as records are settled, and for those of which the leases are over. The stream is the
    /// one that is there then: a stream that is gone needs none.
    /// </summary>
    private async Task GiveCreditAsync()
    {
        while (!_noCredit.IsCancellationRequested)
        {
            try
            {
                await _freed.WaitAsync(ExpiryInterval, _noCredit.Token);
                var (expired, expiredBytes) = _window.Expire(Environment.TickCount64);
                Wire.Credit credit;
                lock (_lock)
                {
                    credit = new Wire.Credit
                    {
                        Records = (uint)(_freeRecords + expired),
                        Bytes = (ulong)(_freeBytes + expiredBytes),
                    };
                    (_freeRecords, _freeBytes) = (0, 0);
                    _grantedRecords += (int)credit.Records;
                    _grantedBytes += (long)credit.Bytes;
                }

                if (credit.Records > 0 && _call is { } call)
                {
                    var request = new Wire.ConsumeRequest { Credit = credit };
                    await call.RequestStream.WriteAsync(request, CancellationToken.None);
                }
            }
            catch (Exception failure) when (
                failure is RpcException or InvalidOperationException or IOException or OperationCanceledException)
            {
                // The stream broke, or the consumer ends; the next stream begins with all that is free then.
                ClientLog.CallFailed(_logger, _what, _from!.Address, failure.Message);
            }
        }
    }
}

/// <summary>A delivery, to the records of which it is common.</summary>
internal sealed class HeldDelivery(GroupRead read, OutDelivery delivery)
{
    /// <summary>One record of it makes room for another one.</summary>
    public void FreeOne() => read.FreeOne(delivery);

    /// <summary>The consumer keeps records for longer; null: as long as at first.</summary>
    public void Extend(TimeSpan? lease) => read.Extend(delivery, lease);
}
