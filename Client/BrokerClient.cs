using System.Security.Cryptography;
using Broker.Client.Connections;
using Broker.Client.Publishing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Client;

/// <summary>
/// Publishes to and reads from a cluster of brokers. One client serves a whole process; all its members may be called
/// at the same time. It finds out who leads, goes elsewhere when a broker dies or hangs, and tries again without
/// storing anything twice. Failures that it cannot mend come as <see cref="BrokerClientException"/>.
/// </summary>
public sealed partial class BrokerClient : IBrokerClient, IBrokerAdmin
{
    /// <summary>
    /// How often broken promises are looked for. A dead broker is mostly noticed at once, by its broken connection.
    /// </summary>
    private static readonly TimeSpan TickInterval = TimeSpan.FromMilliseconds(50);

    private readonly BrokerClientOptions _options;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly BrokerConnections _connections;
    private readonly ClientMetrics _metrics = new();
    private readonly PublishContext _publishing;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _ticking;
    private readonly ulong _producerId;
    private readonly ConnectionWatchers _watchers;

    /// <summary>Nothing new is begun. What was begun goes on until <see cref="_disposed"/>.</summary>
    private volatile bool _isClosing;
    private volatile bool _disposed;
    private int _disposals;

    /// <summary>Makes a client. It connects when it is first used.</summary>
    /// <param name="options">Where the brokers are, and how patient to be.</param>
    /// <param name="loggerFactory">Where to log; nowhere by default.</param>
    /// <param name="time">The clock; the system's by default.</param>
    /// <exception cref="ArgumentException">An option is missing or out of its range.</exception>
    public BrokerClient(BrokerClientOptions options, ILoggerFactory? loggerFactory = null, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options.Validated();
        _time = time ?? TimeProvider.System;
        var loggers = loggerFactory ?? NullLoggerFactory.Instance;
        _logger = loggers.CreateLogger($"Broker.Client.{options.ClientName}");
        _watchers = new ConnectionWatchers(_time, _logger);
        _connections = new BrokerConnections(_options, _time, loggers, _logger, _watchers);
        _publishing = new PublishContext(_options, _time, _logger, _connections, _metrics);
        _producerId = options.ProducerId != 0 ? options.ProducerId : RandomProducerId();
        _ticking = TickAsync();
    }

    /// <summary>How values become messages: <see cref="BrokerClientOptions.Serializer"/>.</summary>
    public IMessageSerializer Serializer => _options.Serializer;

    /// <summary>
    /// How it stands with each broker that was used, and from then on what becomes of it, until the client is disposed.
    /// Any number of callers; none of them can hold up the client: see <see cref="BrokerConnectionEvent.Missed"/>.
    /// </summary>
    /// <param name="cancellationToken">Ends the enumeration.</param>
    /// <returns>The events, each once, in their order.</returns>
    public IAsyncEnumerable<BrokerConnectionEvent> WatchConnectionsAsync(
        CancellationToken cancellationToken = default) => _watchers.WatchAsync(cancellationToken);

    /// <summary>
    /// Ends the client gracefully. Nothing new is taken (ObjectDisposedException). What was begun has
    /// <see cref="BrokerClientOptions.DrainTimeout"/> to be answered: publishes, with their retries, and settlements.
    /// What is left then fails: Unavailable when it was surely not stored, else OutcomeUnknown. Requests that wait for
    /// a reply end at once, reads and subscriptions with the connections.
    /// </summary>
    /// <returns>Completes when everything is closed. A second call returns at once.</returns>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposals, 1) != 0)
        {
            return;
        }

        _isClosing = true;
        if (_replies is { } replies)
        {
            await replies.DisposeAsync();
        }

        await DrainAsync();
        _disposed = true;
        await _end.CancelAsync();
        await _ticking;
        ClosePublishing();
        _watchers.Complete();
        _connections.Dispose();
        _settling?.Dispose();
        _metrics.Dispose();
        _end.Dispose();
    }

    private async Task DrainAsync()
    {
        var drained = Task.WhenAll(_publishing.Gate.DrainAsync(), _settling?.DrainAsync() ?? Task.CompletedTask);
        try
        {
            await drained.WaitAsync(_options.DrainTimeout, _time);
        }
        catch (TimeoutException)
        {
            ClientLog.NotDrained(_logger, _options.DrainTimeout.TotalSeconds);
        }
    }

    /// <summary>
    /// An id that no producer had before: random, not counted, so that no lost state can bring one back.
    /// </summary>
    private static ulong RandomProducerId()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        ulong id;
        do
        {
            RandomNumberGenerator.Fill(bytes);
            id = BitConverter.ToUInt64(bytes);
        }
        while (id == 0);
        return id;
    }

    private async Task TickAsync()
    {
        await Task.Yield();
        using var timer = new PeriodicTimer(TickInterval, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_end.Token))
            {
                var now = _time.GetTimestamp();
                _connections.CheckSilence(now);
                _publishing.Gate.FailOverdue(
                    now,
                    waiter => ClientErrors.NoRoom(waiter.Topic, _options.PublishTimeout, _options.MaxBufferedBytes));
            }
        }
        catch (OperationCanceledException) when (_disposed)
        {
            ClientLog.Closed(_logger);
        }
    }
}
