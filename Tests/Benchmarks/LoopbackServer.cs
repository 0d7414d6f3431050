using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Broker.Tests.Benchmarks;

/// <summary>The other end of the gRPC benchmark, in a process of its own that ends with its standard input.</summary>
internal sealed class LoopbackServer : IAsyncDisposable
{
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(30);

    private readonly Process _process;

    private LoopbackServer(Process process, int grpcPort, int rawPort)
    {
        _process = process;
        GrpcPort = grpcPort;
        RawPort = rawPort;
    }

    public int GrpcPort { get; }

    public int RawPort { get; }

    /// <summary>What this process and the server's have used.</summary>
    public TimeSpan CpuTime
    {
        get
        {
            using var own = Process.GetCurrentProcess();
            _process.Refresh();
            return own.TotalProcessorTime + _process.TotalProcessorTime;
        }
    }

    public static async Task<LoopbackServer> StartAsync(CancellationToken cancellationToken)
    {
        var process = Process.Start(new ProcessStartInfo(
            Environment.ProcessPath!, [.. Self(), GrpcVerb.ServerVerb])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        var line = await process.StandardOutput.ReadLineAsync(cancellationToken).AsTask()
            .WaitAsync(StartDeadline, cancellationToken);
        var ports = line!.Split(' ').Select(text => int.Parse(text, CultureInfo.InvariantCulture)).ToList();
        return new LoopbackServer(process, ports[0], ports[1]);
    }

    /// <summary>Serves until the standard input ends. Kestrel is tuned as in the broker itself.</summary>
    public static async Task RunAsync(CancellationToken cancellationToken)
    {
        using var raw = new TcpListener(IPAddress.Loopback, 0);
        raw.Start();
        var grpcPort = FreePorts.Take();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration["Loopback:GrpcPort"] = grpcPort.ToString(CultureInfo.InvariantCulture);
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        builder.AddGrpcEndpoint("Loopback:GrpcPort");
        builder.Services.AddGrpc();
        builder.Services.AddSingleton<LoopbackService>();
        await using var app = builder.Build();
        app.MapGrpcService<LoopbackService>();
        await app.StartAsync(cancellationToken);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var serving = LoopbackSocket.ServeAsync(raw, end.Token);
        await Console.Out.WriteLineAsync($"{grpcPort} {((IPEndPoint)raw.LocalEndpoint).Port}");
        await Console.In.ReadToEndAsync(cancellationToken);
        await end.CancelAsync();
        await serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await app.StopAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    /// <summary>Started as `dotnet Broker.Tests.Benchmarks.dll`, the program is the first argument of dotnet.</summary>
    private static string[] Self() =>
        Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
            ? [typeof(LoopbackServer).Assembly.Location]
            : [];
}
