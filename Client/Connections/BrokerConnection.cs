using Broker.Protocol;
using Broker.Protocol.V1;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Connections;

/// <summary>The way to one broker: its channel, its publish stream, and how it did lately.</summary>
internal sealed class BrokerConnection : IDisposable
{
    /// <summary>One batch of 4 MiB and its envelope, as the brokers' own limit.</summary>
    private const int MessageBytes = 5 * 1024 * 1024;

    private static readonly TimeSpan AvoidBrokenMin = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan AvoidMax = TimeSpan.FromSeconds(4);

    // The shortest that SocketsHttpHandler takes: a broker that hangs while a reader waits at the tail is left after
    // about 2 s.
    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ConnectionWatchers _watchers;
    private readonly GrpcChannel _channel;
    private readonly HttpMessageHandler _handler;
    private PublishStream? _stream;
    private int _failuresInRow;
    private long _avoidUntil = long.MinValue;
    private volatile bool _isConnected;
    private bool _disposed;

    public BrokerConnection(
        Uri address,
        BrokerClientOptions options,
        TimeProvider time,
        ILoggerFactory loggers,
        ILogger logger,
        ConnectionWatchers watchers)
    {
        Address = address;
        _watchers = watchers;
        Options = options;
        _time = time;
        _logger = logger;
        var sockets = new SocketsHttpHandler
        {
            ConnectCallback = Sockets.ConnectWithin(options.ConnectTimeout),
            KeepAlivePingDelay = PingInterval,
            KeepAlivePingTimeout = PingInterval,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            EnableMultipleHttp2Connections = true,
            InitialHttp2StreamWindowSize = 2 * 1024 * 1024,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            UseProxy = false,
        };
        if (options.Tls is { } tls)
        {
            sockets.SslOptions = tls;
        }

        _handler = options.Credentials is { } credentials
            ? new AuthorizationHandler(credentials, address, sockets)
            : sockets;
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = _handler,
            LoggerFactory = loggers,
            MaxReceiveMessageSize = MessageBytes,
            MaxSendMessageSize = MessageBytes,
        });
        Messages = new Wire.Broker.BrokerClient(_channel);
        Admin = new Admin.AdminClient(_channel);
    }

    public Uri Address { get; }

    public BrokerClientOptions Options { get; }

    public Wire.Broker.BrokerClient Messages { get; }

    public Admin.AdminClient Admin { get; }

    /// <summary>Timestamp until which other brokers are preferred.</summary>
    public long AvoidUntil => Interlocked.Read(ref _avoidUntil);

    public bool IsAvoided => AvoidUntil > _time.GetTimestamp();

    /// <summary>The publish stream that is open; a new one when there is none.</summary>
    public PublishStream Stream()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_stream is null || _stream.IsBroken)
            {
                _stream = new PublishStream(this, _time, _logger);
            }

            return _stream;
        }
    }

    public void CheckSilence(long now)
    {
        PublishStream? stream;
        lock (_lock)
        {
            stream = _stream;
        }

        stream?.CheckSilence(now);
    }

    /// <summary>It answered: it is as good as any.</summary>
    public void Worked()
    {
        if (!_isConnected)
        {
            _isConnected = true;
            _watchers.Connected(Address);
        }

        if (Volatile.Read(ref _failuresInRow) != 0)
        {
            Volatile.Write(ref _failuresInRow, 0);
            Interlocked.Exchange(ref _avoidUntil, long.MinValue);
        }
    }

    /// <summary>It failed: prefer others for a while, longer each time.</summary>
    /// <param name="hangs">
    /// Whether it keeps connections and does not answer: each try of it costs the whole AnswerTimeout.
    /// </param>
    /// <param name="lost">What happened to the connection; null: it is there, the broker has answered.</param>
    public void Failed(bool hangs, string? lost)
    {
        if (lost is not null)
        {
            _isConnected = false;
            _watchers.Lost(Address, lost);
        }

        var failures = Math.Min(Interlocked.Increment(ref _failuresInRow), 10);
        var first = hangs ? Options.AnswerTimeout * 2 : AvoidBrokenMin;
        var span = TimeSpan.FromTicks(Math.Min(AvoidMax.Ticks, first.Ticks << (failures - 1)));
        Interlocked.Exchange(
            ref _avoidUntil, _time.GetTimestamp() + (long)(span.TotalSeconds * _time.TimestampFrequency));
    }

    /// <summary>The same for a call that failed. Who gives a reason of the contract is a broker that answers.</summary>
    public void Failed(RpcException error, bool hangs = false) => Failed(
        hangs, ClientErrors.ReasonOf(error).Length > 0 ? null : $"{error.StatusCode}: {error.Status.Detail}");

    public void Dispose()
    {
        PublishStream? stream;
        lock (_lock)
        {
            _disposed = true;
            stream = _stream;
            _stream = null;
        }

        stream?.Break("the client was disposed", maybeStored: true, hangs: false);
        _channel.Dispose();
        _handler.Dispose();
    }
}
