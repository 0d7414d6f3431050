using System.Globalization;
using Broker.Api;
using Broker.Client;
using Broker.ServiceDefaults;
using Broker.Tests;
using Microsoft.AspNetCore.Builder;

namespace Broker.Testing;

/// <summary>
/// A real broker of one node in this process, in memory, at a free port of this machine, on a clock that a test moves.
/// Members may be called from any thread; <see cref="StopAsync"/>, <see cref="RestartAsync"/> and the disposal one
/// after another.
/// </summary>
public sealed class BrokerTestServer : IAsyncDisposable
{
    private const long LeastMemoryBytes = 64L << 20;
    private const int ReservePart = 7;
    private const int StartAttempts = 5;

    /// <summary>Small: a test that fills segments need not write much.</summary>
    private const int SegmentBytes = 4 << 20;

    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(10);

    private readonly BrokerTestServerOptions _options;
    private readonly MemoryDevice _device;
    private readonly TestClock _clock;
    private int _grpcPort;
    private int _peerPort;
    private int _httpPort;
    private WebApplication? _app;
    private bool _isDisposed;

    private BrokerTestServer(BrokerTestServerOptions options)
    {
        _options = options;
        _device = new MemoryDevice(options.MemoryBytes);
        _clock = new TestClock(options.StartTime ?? TimeProvider.System.GetUtcNow());
    }

    /// <summary>
    /// Where clients of gRPC reach it, e.g. http://localhost:41234; the same after <see cref="RestartAsync"/>.
    /// </summary>
    public Uri Address => new($"http://localhost:{_grpcPort}");

    /// <summary>Where HTTP and JSON reach it.</summary>
    public Uri HttpAddress => new($"http://localhost:{_httpPort}");

    /// <summary>What AddBrokerClient takes: ConnectionStrings:{name}.</summary>
    public string ConnectionString => Address.ToString();

    /// <summary>
    /// The broker's clock: it passes as the machine's does, and by <see cref="Advance"/>. For what else of the program
    /// lives by the same time; <see cref="CreateClient"/> gives it to its clients.
    /// </summary>
    public TimeProvider Time => _clock;

    /// <summary>Starts a broker; it takes publishes when this returns.</summary>
    /// <param name="options">Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the waiting, and the broker.</param>
    /// <returns>The broker, to be disposed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">MemoryBytes is less than 64 MiB.</exception>
    /// <exception cref="StartupException">One of Settings is not what it must be.</exception>
    /// <exception cref="TimeoutException">The broker had no leader after a minute.</exception>
    public static async Task<BrokerTestServer> StartAsync(
        BrokerTestServerOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new BrokerTestServerOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MemoryBytes, LeastMemoryBytes, nameof(options));
        var server = new BrokerTestServer(options);
        try
        {
            server.TakeFreePorts();
            await server.OpenAsync(StartAttempts, cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// A client of this broker, which lives by its clock. The caller disposes it, before the broker if publishes are to
    /// be awaited.
    /// </summary>
    /// <param name="options">Its options; the addresses in it do not count. Null: the defaults.</param>
    /// <returns>The client.</returns>
    public BrokerClient CreateClient(BrokerClientOptions? options = null) =>
        new((options ?? new BrokerClientOptions()) with { Addresses = [Address] }, time: Time);

    /// <summary>
    /// Lets time pass at once: what is due by then happens, within milliseconds of this call's return. Deadlines of
    /// calls that are under way pass as well.
    /// </summary>
    /// <param name="by">How much, from 0 to 36,500 days.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative or too much.</exception>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(by, TimeSpan.FromDays(36_500));
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _clock.Advance(by);
    }

    /// <summary>The broker goes away, as in an orderly stop; what it has is kept. Again: nothing happens.</summary>
    /// <param name="cancellationToken">Ends open calls at once.</param>
    /// <returns>When it is gone.</returns>
    public async Task StopAsync(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _app, null) is { } app)
        {
            await app.StopAsync(cancellationToken).ConfigureAwait(false);
            await app.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Stops it if it runs, and starts it with what it has at the address that it had.</summary>
    /// <param name="cancellationToken">Ends the waiting, and the broker.</param>
    /// <returns>When it takes publishes.</returns>
    /// <exception cref="StartupException">Another process has taken the port meanwhile.</exception>
    /// <exception cref="TimeoutException">The broker had no leader after a minute.</exception>
    public async Task RestartAsync(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        await StopAsync(cancellationToken).ConfigureAwait(false);
        await OpenAsync(attempts: 1, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        await StopAsync().ConfigureAwait(false);
    }

    private async Task OpenAsync(int attempts, CancellationToken cancellationToken)
    {
        while (true)
        {
            var app = BrokerHost.Build([], new NodeSurroundings(
                _device, Time, Settings(), _options.ConfigureLogging ?? (static _ => { })));
            try
            {
                await app.StartAsync(cancellationToken).ConfigureAwait(false);
                await WaitForLeadersAsync(cancellationToken).ConfigureAwait(false);
                _app = app;
                return;
            }
            catch (StartupException) when (--attempts > 0)
            {
                await app.DisposeAsync().ConfigureAwait(false);
                TakeFreePorts(); // Somebody was faster.
            }
            catch
            {
                await app.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
    }

    private Dictionary<string, string?> Settings()
    {
        var settings = new Dictionary<string, string?>(_options.Settings, StringComparer.OrdinalIgnoreCase)
        {
            ["Urls"] = Text(HttpAddress),
            ["Broker:GrpcPort"] = Text(_grpcPort),
            ["Broker:PeerPort"] = Text(_peerPort),
            ["Broker:DataDirectory"] = "/broker-test-server",
        };
        settings.TryAdd("Broker:SegmentBytes", Text(SegmentBytes));
        settings.TryAdd("Broker:DiskReserveBytes", Text(_options.MemoryBytes / ReservePart));
        return settings;

        static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
    }

    private async Task WaitForLeadersAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(StartLimit);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = [Address] });
        try
        {
            while ((await client.DescribeClusterAsync(limit.Token).ConfigureAwait(false)).Shards is var shards
                && (shards.Count < 2 || shards.Any(static shard => shard.Leader == 0)))
            {
                await Task.Delay(LookInterval, limit.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException late) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException(
                $"The broker at {Address} had no leader after {StartLimit.TotalSeconds:N0} s. ConfigureLogging shows "
                + "its log.",
                late);
        }
    }

    private void TakeFreePorts()
    {
        var ports = FreePorts.Take(3);
        (_grpcPort, _peerPort, _httpPort) = (ports[0], ports[1], ports[2]);
    }
}
