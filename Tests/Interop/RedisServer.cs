using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Google.Protobuf;
using StackExchange.Redis;

namespace Broker.Tests.Interop;

/// <summary>
/// A real redis-server of the test's own, without persistence. It can be killed and started again on its port.
/// </summary>
internal sealed class RedisServer : IAsyncDisposable
{
    private readonly int _port = FreePorts.Take();
    private Process? _process;

    public int Port => _port;

    public string ConnectionString => $"127.0.0.1:{_port}";

    public async Task StartAsync()
    {
        _process = Process.Start(new ProcessStartInfo(
            "redis-server", ["--port", $"{_port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        {
            RedirectStandardOutput = true,
        })!;
        _process.BeginOutputReadLine();
        await Eventually.HoldsAsync(CanConnectAsync, () => "redis-server accepts connections");
    }

    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    /// <summary>Publishes as a broker does.</summary>
    public async Task PublishAsync(params Protocol.V1.LiveBatch[] batches)
    {
        using var connection = await ConnectionMultiplexer.ConnectAsync(ConnectionString);
        foreach (var batch in batches)
        {
            var channel = new RedisChannel($"broker:{batch.Topic}", RedisChannel.PatternMode.Literal);
            await connection.GetSubscriber().PublishAsync(channel, batch.ToByteArray());
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            await KillAsync();
        }
    }

    private async Task<bool> CanConnectAsync()
    {
        using var client = new TcpClient();
        try
        {
            await client.ConnectAsync(IPAddress.Loopback, _port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
