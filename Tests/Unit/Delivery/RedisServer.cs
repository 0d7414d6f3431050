using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

/// <summary>A redis-server of the test's own, on a free port of loopback, that keeps nothing on disk.</summary>
internal sealed class RedisServer : IDisposable
{
    private const string Program = "/usr/bin/redis-server";

    private Process? _process;

    public RedisServer()
    {
        Assert.SkipUnless(File.Exists(Program), $"{Program} is not installed");
        Port = FreePorts.Take();
    }

    public int Port { get; }

    public string ConnectionString => $"127.0.0.1:{Port},connectTimeout=1000";

    public async Task StartAsync(CancellationToken cancellationToken, params string[] more)
    {
        string[] arguments =
        [
            "--port", Port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1",
            "--save", "", "--appendonly", "no",
            "--daemonize", "no", "--logfile", "/dev/null", .. more,
        ];
        _process = Process.Start(new ProcessStartInfo(Program, arguments) { WorkingDirectory = Path.GetTempPath() });
        await Poll.UntilAsync(IsListening, cancellationToken);
    }

    public void Kill()
    {
        _process?.Kill();
        _process?.WaitForExit();
        _process?.Dispose();
        _process = null;
    }

    public void Freeze() => Signal("-STOP");

    public void Thaw() => Signal("-CONT");

    public void Dispose() => Kill();

    private void Signal(string signal)
    {
        using var kill = Process.Start("/bin/kill", [signal, _process!.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
        Assert.Equal(0, kill.ExitCode);
    }

    private bool IsListening()
    {
        try
        {
            using var client = new TcpClient("127.0.0.1", Port);
            return client.Connected;
        }
        catch (SocketException)
        {
            // Not up yet: the caller asks again until its deadline.
            return false;
        }
    }
}
