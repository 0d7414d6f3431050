using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using Broker.Cli.Text;
using Broker.Client;
using Spectre.Console;

namespace Broker.Cli.Verbs;

/// <summary>
/// Loads, and what they came to. One client program on one machine: it says what a user sees there, not what the
/// brokers could do at most.
/// </summary>
internal static class BenchVerbs
{
    private const int StampBytes = sizeof(long);

    private static readonly Argument<string> Topic = Verb.Name("topic", "An own one: its records stay.");

    private static readonly Option<long?> Messages = Values.Number(
        "--messages", "How many. Default: 100,000; of e2e 5,000.", 1, 1_000_000_000);

    private static readonly Option<long?> Size = Values.Size("--size", "Bytes of a message. Default: 128.");

    private static readonly Option<long?> Window = Values.Number(
        "--window", "Messages of a client that wait for their answers; 1: one at a time. Default: 1,024.", 1, 65_536);

    private static readonly Option<long?> Clients = Values.Number(
        "--clients", "So many, each with connections of its own. Default: 1.", 1, 64);

    private static readonly Option<long?> Rate = Values.Number(
        "--rate", "Messages a second. Default: 1,000.", 1, 1_000_000);

    private static readonly Column<Report>[] Columns =
    [
        new("messages", static report => report.Messages),
        new("seconds", static report => Math.Round(report.Seconds, 3)),
        new("messages_per_second", static report => Math.Round(report.Messages / report.Seconds)),
        new("bytes_per_second", static report => new Bytes((long)(report.Bytes / report.Seconds))),
        new("latency_p50", static report => report.At(0.5)),
        new("latency_p99", static report => report.At(0.99)),
        new("latency_max", static report => report.At(1)),
    ];

    public static Command Create() => Verb.Family(
        "bench",
        "Measures from here: pub, sub, e2e.",
        Verb.Make(
            "pub",
            Verb.WithExamples(
                "Publishes; latency is from the publish to its answer.",
                "broker bench pub bench.a --messages 1000000 --clients 4",
                "broker bench pub bench.a --window 1 --messages 5000"),
            [Topic, Messages, Size, Window, Clients],
            PublishAsync),
        Verb.Make("sub", "Reads so many messages from a topic's beginning.", [Topic, Messages], ReadAsync),
        Verb.Make(
            "e2e",
            "Publishes at a rate and reads beside it; latency is from the publish to the reader.",
            [Topic, Messages, Size, Rate],
            EndToEndAsync));

    private static async Task PublishAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var messages = parsed.GetValue(Messages) ?? 100_000;
        var size = SizeOf(parsed, least: 0);
        var clients = (int)(parsed.GetValue(Clients) ?? 1);
        var window = (int)(parsed.GetValue(Window) ?? 1_024);
        var report = await WithProgressAsync(session, "Publishing", messages, async told =>
        {
            var started = Stopwatch.GetTimestamp();
            var latencies = await Task.WhenAll(Enumerable.Range(0, clients).Select(async client =>
            {
                await using var broker = session.Connect();
                var share = (messages / clients) + (client < messages % clients ? 1 : 0);
                return await PublishShareAsync(broker, topic, share, size, window, told, cancellationToken);
            }));
            return new Report(
                messages, size, Stopwatch.GetElapsedTime(started).TotalSeconds, [.. latencies.SelectMany(x => x)]);
        });
        session.Output.Describe(report, Columns);
    }

    private static async Task<List<double>> PublishShareAsync(
        BrokerClient broker,
        string topic,
        long messages,
        int size,
        int window,
        Action told,
        CancellationToken cancellationToken)
    {
        var latencies = new List<double>((int)Math.Min(messages, 1_000_000));
        var message = new BrokerMessage { Value = new byte[size] };
        using var room = new SemaphoreSlim(window);
        Task? failed = null;
        for (var i = 0L; i < messages && Volatile.Read(ref failed) is null; i++)
        {
            await room.WaitAsync(cancellationToken);
            _ = OneAsync();
        }

        for (var i = 0; i < window; i++)
        {
            await room.WaitAsync(cancellationToken);
        }

        await (failed ?? Task.CompletedTask);
        return latencies;

        async Task OneAsync()
        {
            var started = Stopwatch.GetTimestamp();
            var publish = broker.PublishAsync(topic, message, cancellationToken).AsTask();
            await ((Task)publish).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (publish.IsCompletedSuccessfully)
            {
                lock (latencies)
                {
                    latencies.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
                    told();
                }
            }
            else
            {
                Volatile.Write(ref failed, publish);
            }

            room.Release();
        }
    }

    private static async Task ReadAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var messages = parsed.GetValue(Messages) ?? 100_000;
        var options = new ReadOptions { MaxRecords = (int)messages };
        var report = await WithProgressAsync(session, "Reading", messages, async told =>
        {
            var started = Stopwatch.GetTimestamp();
            var (count, bytes) = (0L, 0L);
            await foreach (var record in session.Client.ReadAsync(topic, options, cancellationToken))
            {
                count++;
                bytes += record.Value.Length;
                told();
            }

            var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            return new Report(count, count == 0 ? 0 : (double)bytes / count, seconds, []);
        });
        session.Output.Describe(report, Columns);
    }

    private static async Task EndToEndAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var messages = parsed.GetValue(Messages) ?? 5_000;
        var size = SizeOf(parsed, StampBytes);
        var rate = parsed.GetValue(Rate) ?? 1_000;

        // The topic is there, and what it has is not waited for.
        var message = new BrokerMessage { Value = new byte[size] };
        var first = await session.Client.PublishAsync(topic, message, cancellationToken);
        var report = await WithProgressAsync(session, "Publishing and reading", messages, async told =>
        {
            var started = Stopwatch.GetTimestamp();
            var reading = LatenciesAsync(session.Client, topic, first, messages, told, cancellationToken);
            await PublishAtRateAsync(session.Client, topic, first.Partition, messages, size, rate, cancellationToken);
            var latencies = await reading;
            return new Report(messages, size, Stopwatch.GetElapsedTime(started).TotalSeconds, latencies);
        });
        session.Output.Describe(report, Columns);
    }

    private static async Task PublishAtRateAsync(
        BrokerClient broker,
        string topic,
        int partition,
        long messages,
        int size,
        long rate,
        CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var publishes = new Queue<Task<PublishAck>>();
        for (var i = 0L; i < messages; i++)
        {
            var due = TimeSpan.FromSeconds((double)i / rate) - Stopwatch.GetElapsedTime(started);
            if (due > TimeSpan.Zero)
            {
                await Task.Delay(due, cancellationToken);
            }

            var value = new byte[size];
            BinaryPrimitives.WriteInt64LittleEndian(value, Stopwatch.GetTimestamp());
            publishes.Enqueue(broker.PublishAsync(
                topic, new BrokerMessage { Value = value, Partition = partition }, cancellationToken).AsTask());
            while (publishes.Count > 10_000 || (publishes.TryPeek(out var oldest) && oldest.IsCompleted))
            {
                await publishes.Dequeue();
            }
        }

        await Task.WhenAll(publishes);
    }

    private static async Task<List<double>> LatenciesAsync(
        BrokerClient broker,
        string topic,
        PublishAck first,
        long messages,
        Action told,
        CancellationToken cancellationToken)
    {
        var latencies = new List<double>();
        var options = new ReadOptions
        {
            Partition = first.Partition,
            FromOffset = first.Offset + 1,
            Follow = true,
            MaxRecords = (int)messages,
        };
        await foreach (var record in broker.ReadAsync(topic, options, cancellationToken))
        {
            if (record.Value.Length >= StampBytes)
            {
                var sent = BinaryPrimitives.ReadInt64LittleEndian(record.Value.Span);
                latencies.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
            }

            told();
        }

        return latencies;
    }

    private static int SizeOf(ParseResult parsed, int least)
    {
        var size = parsed.GetValue(Size) ?? 128;
        return size >= least && size <= MessageLimits.ValueBytes
            ? (int)size
            : throw new UsageException(
                $"--size is {size:N0} bytes; expected {least} to {MessageLimits.ValueBytes:N0}.");
    }

    private static async Task<Report> WithProgressAsync(
        Session session, string what, long messages, Func<Action, Task<Report>> run)
    {
        if (session.Output is not { IsTerminal: true, Format: OutputFormat.Table })
        {
            return await run(static () => { });
        }

        return await session.Output.Terminal.Progress().AutoClear(true).StartAsync(async context =>
        {
            var task = context.AddTask(what, maxValue: messages);
            return await run(() => task.Increment(1));
        });
    }

    /// <param name="Messages">How many.</param>
    /// <param name="MessageBytes">Bytes of one.</param>
    /// <param name="Seconds">How long it all took.</param>
    /// <param name="Latencies">In milliseconds; empty: not measured.</param>
    private sealed record Report(long Messages, double MessageBytes, double Seconds, List<double> Latencies)
    {
        private readonly Lazy<double[]> _sorted = new(() => [.. Latencies.Order()]);

        public double Bytes => Messages * MessageBytes;

        public TimeSpan? At(double share)
        {
            var sorted = _sorted.Value;
            return sorted.Length == 0
                ? null
                : TimeSpan.FromMilliseconds(sorted[(int)Math.Min(sorted.Length * share, sorted.Length - 1)]);
        }
    }
}
