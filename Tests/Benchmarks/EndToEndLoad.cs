using System.Buffers.Binary;
using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Publishes at a fixed rate and reads at the tail with a client of its own. A message's latency counts from when it
/// was planned to be sent, so that a stall counts against every message it delays. The first second is left out.
/// </summary>
internal static class EndToEndLoad
{
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LastWait = TimeSpan.FromSeconds(5);

    public static async Task<LoadResult> RunAsync(
        LoadSettings settings, BrokerClient publisher, CancellationToken cancellationToken)
    {
        var topic = settings.Topics[0];
        await using var reader = settings.Connect();
        return await RunAsync(
            settings,
            value => publisher.PublishAsync(topic, new BrokerMessage { Value = value }, CancellationToken.None),
            async (receive, stop) =>
            {
                var options = new ReadOptions { Follow = true };
                await foreach (var record in reader.ReadAsync(topic, options, stop))
                {
                    receive(record.Value);
                }
            },
            cancellationToken);
    }

    /// <summary>The same load for whatever answers a publish and hands out what was published.</summary>
    /// <param name="settings">Size, rate and duration.</param>
    /// <param name="publish">Publishes a value; its errors are BrokerClientException or IOException.</param>
    /// <param name="read">Hands out every value from the first one on, one at a time, until it is told to stop.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<LoadResult> RunAsync<TAck>(
        LoadSettings settings,
        Func<ReadOnlyMemory<byte>, ValueTask<TAck>> publish,
        Func<Action<ReadOnlyMemory<byte>>, CancellationToken, Task> read,
        CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await publish(new byte[sizeof(long)]);
        var received = new Received();
        var reading = ReadAsync(read, received, stop.Token);
        await received.First.Task.WaitAsync(LastWait, cancellationToken);

        var cpu = Environment.CpuUsage.TotalTime;
        var begun = Stopwatch.GetTimestamp();
        received.CountFrom = begun + Ticks(WarmUp);
        var acks = await Task.Factory.StartNew(
            () => Publish(settings, publish, begun),
            cancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        long errors = 0;
        foreach (var ack in acks)
        {
            try
            {
                await ack;
            }
            catch (Exception error) when (error is BrokerClientException or IOException)
            {
                errors++;
            }
        }

        var deadline = Stopwatch.GetTimestamp() + Ticks(LastWait);
        while (received.Count < acks.Count - errors && Stopwatch.GetTimestamp() < deadline)
        {
            await Task.Delay(1, cancellationToken);
        }

        var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        await stop.CancelAsync();
        await reading;
        return new LoadResult
        {
            Mode = "e2e",
            SizeBytes = settings.SizeBytes,
            Messages = received.Count,
            Errors = acks.Count - received.Count,
            Seconds = seconds,
            ClientCpuSeconds = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
            Latencies = received.Latencies,
            Rate = settings.Rate,
        };
    }

    private static List<ValueTask<TAck>> Publish<TAck>(
        LoadSettings settings, Func<ReadOnlyMemory<byte>, ValueTask<TAck>> publish, long begun)
    {
        var acks = new List<ValueTask<TAck>>();
        var end = begun + Ticks(WarmUp) + Ticks(settings.Duration);
        var step = Stopwatch.Frequency / settings.Rate;
        var payload = PublishLoad.Payload(settings.SizeBytes);
        while (Stopwatch.GetTimestamp() is var now && now < end)
        {
            while (begun + (long)(acks.Count * step) is var planned && planned <= now)
            {
                BinaryPrimitives.WriteInt64LittleEndian(payload, planned);
                acks.Add(publish(payload.ToArray()));
            }

            var next = begun + (long)(acks.Count * step);
            PreciseClock.SleepUntil(Math.Max(next, now + (Stopwatch.Frequency / 10_000)));
        }

        return acks;
    }

    private static async Task ReadAsync(
        Func<Action<ReadOnlyMemory<byte>>, CancellationToken, Task> read,
        Received received,
        CancellationToken cancellationToken)
    {
        try
        {
            await read(Receive, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The measure is over.
        }

        void Receive(ReadOnlyMemory<byte> value)
        {
            var now = Stopwatch.GetTimestamp();
            var planned = BinaryPrimitives.ReadInt64LittleEndian(value.Span);
            if (planned == 0)
            {
                received.First.TrySetResult();
                return;
            }

            if (planned >= received.CountFrom)
            {
                received.Latencies.Add(now - planned);
            }

            received.Count++;
        }
    }

    private static long Ticks(TimeSpan span) => (long)(span.TotalSeconds * Stopwatch.Frequency);

    private sealed class Received
    {
        private long _count;
        private long _countFrom = long.MaxValue;

        public TaskCompletionSource First { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public LatencyLog Latencies { get; } = new();

        public long Count
        {
            get => Interlocked.Read(ref _count);
            set => Interlocked.Exchange(ref _count, value);
        }

        public long CountFrom
        {
            get => Interlocked.Read(ref _countFrom);
            set => Interlocked.Exchange(ref _countFrom, value);
        }
    }
}
