using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Net.Client.Internal;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Grpc.Net.Client;

/// <summary>A way to one server over HTTP/2. Expensive to make, cheap to share; safe for use by many threads.</summary>
public sealed class GrpcChannel : ChannelBase, IDisposable
{
    /// <summary>
    /// Servers on the C core close a connection on which pings without data come more often than every five minutes.
    /// This is just beyond, and still finds out in the end that a peer has vanished without a word.
    /// </summary>
    private static readonly TimeSpan DefaultPingDelay = TimeSpan.FromSeconds(310);

    private static readonly TimeSpan DefaultPingTimeout = TimeSpan.FromSeconds(20);

    /// <summary>
    /// As the C core: a host that swallows packets is UNAVAILABLE after this time, not after TCP's minutes.
    /// </summary>
    private static readonly TimeSpan DefaultConnectTimeout = TimeSpan.FromSeconds(20);

    /// <summary>A stream's first window. It grows by itself; this saves its first doublings.</summary>
    private const int FirstWindowSizeBytes = 1024 * 1024;

    private readonly ConcurrentDictionary<string, Uri> _methodAddresses = new();
    private readonly CancellationTokenSource _disposed = new();
    private int _isDisposed;

    private GrpcChannel(Uri address, GrpcChannelOptions options)
        : base(address.Authority)
    {
        CheckCredentials(address, options);
        Address = address;
        Options = options;
        CallCredentials = options.Credentials?.PerCall;
        Logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("Grpc.Net.Client");
        Invoker = new HttpMessageInvoker(
            options.HttpHandler ?? CreateHandler(address),
            disposeHandler: options.DisposeHttpClient || options.HttpHandler is null);
    }

    internal Uri Address { get; }

    internal GrpcChannelOptions Options { get; }

    internal CallCredentials? CallCredentials { get; }

    internal HttpMessageInvoker Invoker { get; }

    internal ILogger Logger { get; }

    internal TimeProvider TimeProvider { get; } = TimeProvider.System;

    internal bool IsSecure => Address.Scheme == Uri.UriSchemeHttps;

    /// <summary>Cancelled when the channel is disposed, and with it every call.</summary>
    internal CancellationToken Disposed => _disposed.Token;

    public static GrpcChannel ForAddress(string address) => ForAddress(address, new GrpcChannelOptions());

    public static GrpcChannel ForAddress(string address, GrpcChannelOptions channelOptions)
    {
        ArgumentNullException.ThrowIfNull(address);
        return ForAddress(new Uri(address), channelOptions);
    }

    public static GrpcChannel ForAddress(Uri address) => ForAddress(address, new GrpcChannelOptions());

    public static GrpcChannel ForAddress(Uri address, GrpcChannelOptions channelOptions)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentNullException.ThrowIfNull(channelOptions);
        return new GrpcChannel(address, channelOptions);
    }

    public override CallInvoker CreateCallInvoker()
    {
        ObjectDisposedException.ThrowIf(_isDisposed != 0, this);
        return new HttpCallInvoker(this);
    }

    /// <summary>Cancels the calls that run, and closes the connections.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
        {
            return;
        }

        _disposed.Cancel();
        Invoker.Dispose();
    }

    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_isDisposed != 0, this);

    internal Uri GetAddress(IMethod method) =>
        _methodAddresses.GetOrAdd(method.FullName, static (path, address) => new Uri(address, path), Address);

    protected override Task ShutdownAsyncCore()
    {
        Dispose();
        return Task.CompletedTask;
    }

    private static SocketsHttpHandler CreateHandler(Uri address) => new()
    {
        EnableMultipleHttp2Connections = true,
        KeepAlivePingDelay = DefaultPingDelay,
        KeepAlivePingTimeout = DefaultPingTimeout,
        ConnectTimeout = DefaultConnectTimeout,
        InitialHttp2StreamWindowSize = FirstWindowSizeBytes,
        AllowAutoRedirect = false,
        UseCookies = false,

        // HTTP/2 in the clear begins without a handshake (RFC 9113, 3.3), which no HTTP proxy passes on.
        UseProxy = address.Scheme == Uri.UriSchemeHttps,
    };

    private static void CheckCredentials(Uri address, GrpcChannelOptions options)
    {
        if (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps)
        {
            throw new ArgumentException(
                $"The address '{address}' must begin with http:// or https://.", nameof(address));
        }

        if (options.Credentials is { } credentials && credentials.IsSecure != (address.Scheme == Uri.UriSchemeHttps))
        {
            throw new ArgumentException(
                $"The credentials do not fit the address '{address}': TLS belongs to https.", nameof(options));
        }
    }
}
