using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Broker.Protocol.Wire;
using Google.Protobuf;
using Grpc.Net.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Measures gRPC itself, between two processes over loopback, beside a copy through a bare socket in the same round.
/// </summary>
internal static class GrpcVerb
{
    public const string ServerVerb = "grpc-server";
    public const int MessageSizeBytes = 64 * 1024;

    private const int SmallSizeBytes = 128;
    private const int Parallel = 64;
    private const int Calls = 20_000;
    private const long StreamedBytes = 2L * 1024 * 1024 * 1024;

    private static readonly ByteString Large = ByteString.CopyFrom(new byte[MessageSizeBytes]);
    private static readonly ByteString Small = ByteString.CopyFrom(new byte[SmallSizeBytes]);

    public static IEnumerable<Command> Create()
    {
        var rounds = NumberOption.Rounds(5);
        var command = new Command("grpc", "Measures gRPC over loopback beside a bare socket.") { rounds };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed.GetValue(rounds), cancellationToken));
        var server = new Command(ServerVerb, "The other end of grpc.") { Hidden = true };
        server.SetAction((_, cancellationToken) => LoopbackServer.RunAsync(cancellationToken));
        return [command, server];
    }

    private static async Task RunAsync(int rounds, CancellationToken cancellationToken)
    {
        await using var server = await LoopbackServer.StartAsync(cancellationToken);
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        var client = new Protocol.Wire.Broker.BrokerClient(channel);
        (string Name, double Units, double CpuUnits, Func<Task> Grpc, Func<Task> Raw)[] loads =
        [
            ("stream to the server, 64 KiB messages, MB/s", StreamedBytes / 1e6, StreamedBytes / 1e9,
                () => SendAsync(client, cancellationToken),
                () => LoopbackSocket.SendAsync(server.RawPort, StreamedBytes, cancellationToken)),
            ("stream to the client, 64 KiB messages, MB/s", StreamedBytes / 1e6, StreamedBytes / 1e9,
                () => ReceiveAsync(client, cancellationToken),
                () => LoopbackSocket.ReceiveAsync(server.RawPort, StreamedBytes, cancellationToken)),
            ("unary, 128 B, one at a time, calls/s", Calls, Calls / 1e5,
                () => CallAsync(client, Calls, cancellationToken),
                () => LoopbackSocket.EchoAsync(server.RawPort, Calls, SmallSizeBytes, cancellationToken)),
            ("unary, 128 B, 64 at a time, calls/s", Calls, Calls / 1e5,
                () => Task.WhenAll(Enumerable.Range(0, Parallel)
                    .Select(_ => CallAsync(client, Calls / Parallel, cancellationToken))),
                () => LoopbackSocket.EchoAsync(server.RawPort, Calls, SmallSizeBytes, cancellationToken)),
        ];
        var text = new StringBuilder(
            "| measure | gRPC, median (least..most) | bare socket | ratio "
            + "| CPU s per GB or 100,000 calls, gRPC / bare |\n|---|---|---|---|---|\n");
        foreach (var (name, units, cpuUnits, grpc, raw) in loads)
        {
            // The first round is for the compiler.
            await MeasureAsync(units, server, grpc);
            await MeasureAsync(units, server, raw);
            var ours = new List<(double Rate, double CpuSeconds)>();
            var bare = new List<(double Rate, double CpuSeconds)>();
            for (var round = 0; round < rounds; round++)
            {
                bare.Add(await MeasureAsync(units, server, raw));
                ours.Add(await MeasureAsync(units, server, grpc));
            }

            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {name} | {Spread(ours)} | {Spread(bare)} | {Rate(ours) / Rate(bare):N2} "
                + $"| {Cpu(ours) / cpuUnits:N2} / {Cpu(bare) / cpuUnits:N2} |"));
        }

        await Console.Out.WriteLineAsync(text, cancellationToken);
    }

    private static async Task<(double Rate, double CpuSeconds)> MeasureAsync(
        double units, LoopbackServer server, Func<Task> load)
    {
        var cpu = server.CpuTime;
        var watch = Stopwatch.StartNew();
        await load();
        return (units / watch.Elapsed.TotalSeconds, (server.CpuTime - cpu).TotalSeconds);
    }

    private static async Task SendAsync(
        Protocol.Wire.Broker.BrokerClient client, CancellationToken cancellationToken)
    {
        using var call = client.PublishStream(cancellationToken: cancellationToken);
        for (long i = 0; i < StreamedBytes / MessageSizeBytes; i++)
        {
            var publish = new PublishRequest { Batch = Large };
            await call.RequestStream.WriteAsync(
                new PublishStreamRequest { Publishes = { new StreamedPublish { Publish = publish } } },
                cancellationToken);
        }

        await call.RequestStream.CompleteAsync();
        await call.ResponseStream.MoveNext(cancellationToken);
        if (call.ResponseStream.Current.Results[0].Correlation is var seen && seen != (ulong)StreamedBytes)
        {
            throw new InvalidDataException($"The server saw {seen} bytes.");
        }
    }

    private static async Task ReceiveAsync(
        Protocol.Wire.Broker.BrokerClient client, CancellationToken cancellationToken)
    {
        using var call = client.Read(
            new ReadRequest { Offset = StreamedBytes / MessageSizeBytes }, cancellationToken: cancellationToken);
        long bytes = 0;
        while (await call.ResponseStream.MoveNext(cancellationToken))
        {
            bytes += call.ResponseStream.Current.Batches[0].Batch.Length;
        }

        if (bytes != StreamedBytes)
        {
            throw new InvalidDataException($"The client saw {bytes} bytes.");
        }
    }

    private static async Task CallAsync(
        Protocol.Wire.Broker.BrokerClient client, int count, CancellationToken cancellationToken)
    {
        var request = new PublishRequest { Topic = "t", Batch = Small };
        for (var i = 0; i < count; i++)
        {
            await client.PublishAsync(request, cancellationToken: cancellationToken);
        }
    }

    private static string Spread(List<(double Rate, double CpuSeconds)> runs) => string.Create(
        CultureInfo.InvariantCulture,
        $"{Rate(runs):N0} ({runs.Min(run => run.Rate):N0}..{runs.Max(run => run.Rate):N0})");

    private static double Rate(List<(double Rate, double CpuSeconds)> runs) => Median(runs.Select(run => run.Rate));

    private static double Cpu(List<(double Rate, double CpuSeconds)> runs) =>
        Median(runs.Select(run => run.CpuSeconds));

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted[sorted.Count / 2];
    }
}
