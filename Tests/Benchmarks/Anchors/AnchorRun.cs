using System.Diagnostics;
using System.Globalization;
using Grpc.Core;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>One row of the table, for each of the systems.</summary>
/// <param name="Key">For --only.</param>
/// <param name="Name">For the table.</param>
/// <param name="Window">Publishes unanswered; 0: it measures no publishing.</param>
/// <param name="Members">Of a group that empties a backlog; 0: it is no such measure.</param>
/// <param name="Together">Many messages are acknowledged by one request.</param>
/// <param name="Rate">Messages a second from the publisher to a member; 0: likewise.</param>
internal sealed record AnchorMeasure(
    string Key, string Name, int Window = 0, int Members = 0, bool Together = false, int Rate = 0)
{
    public static readonly IReadOnlyList<AnchorMeasure> All =
    [
        new("single", "publish, one at a time", Window: 1),
        new("window-1024", "publish, 1,024 unanswered", Window: 1_024),
        new("window-16384", "publish, 16,384 unanswered", Window: 16_384),
        new("group-1", "backlog, 1 member, an ack a message", Members: 1),
        new("group-8", "backlog, 8 members, an ack a message", Members: 8),
        new("group-1-together", "backlog, 1 member, acks together", Members: 1, Together: true),
        new("group-8-together", "backlog, 8 members, acks together", Members: 8, Together: true),
        new("rate-1000", "publish to delivery at 1,000/s, acked", Rate: 1_000),
        new("rate-10000", "publish to delivery at 10,000/s, acked", Rate: 10_000),
    ];

    public bool NeedsGroups => Window == 0;
}

/// <summary>Takes the measures of systems that take turns, and keeps what they came to.</summary>
/// <param name="sizeBytes">Of a message.</param>
/// <param name="duration">Of each load.</param>
/// <param name="warm">Of the load before the measures of each start.</param>
/// <param name="backlog">The most messages that wait for a group.</param>
internal sealed class AnchorRun(int sizeBytes, TimeSpan duration, TimeSpan warm, int backlog)
{
    private const int FillChunk = 5_000;
    private const int FillWindow = 4_096;

    /// <summary>A group that takes longer has failed.</summary>
    private static readonly TimeSpan GiveUp = TimeSpan.FromSeconds(120);

    private static readonly TimeSpan Visible = TimeSpan.FromSeconds(10);

    private readonly List<(AnchorSystem System, AnchorMeasure Measure, Row Row)> _rows = [];
    private readonly List<string> _failures = [];
    private int _queues;

    /// <summary>Nothing failed, and nothing that our brokers confirmed was missing.</summary>
    public bool IsComplete => _failures.Count == 0
        && _rows.Where(static row => row.System.Key == "broker").All(static row => row.Row.Missing == 0);

    /// <summary>Starts a system, takes its measures, and ends it. What fails is told, and the run goes on.</summary>
    public async Task MeasureAsync(
        AnchorSystem system, string folder, IEnumerable<AnchorMeasure> measures, CancellationToken cancellationToken)
    {
        await TryAsync(
            $"{system.Name}: start",
            async () =>
            {
                await using var anchor = await system.StartAsync(folder, cancellationToken);
                await WarmUpAsync(anchor, cancellationToken);
                foreach (var measure in measures.Where(each => (!each.NeedsGroups || anchor.HasGroups)
                    && (!each.Together || anchor.AcksTogether)))
                {
                    await TryAsync(
                        $"{system.Name}: {measure.Name}",
                        async () => _rows.Add(
                            (system, measure, await MeasureAsync(anchor, measure, cancellationToken))),
                        cancellationToken);
                }
            },
            cancellationToken);
    }

    private async Task TryAsync(string what, Func<Task> run, CancellationToken cancellationToken)
    {
        try
        {
            await run();
        }
        catch (Exception failure) when (!cancellationToken.IsCancellationRequested)
        {
            _failures.Add($"{what}: {failure.Message.Split('\n')[0]}");
            await Console.Error.WriteLineAsync($"{what}: {failure}");
        }
    }

    /// <summary>By measure, so that what is to be compared stands together.</summary>
    public string ToMarkdown(IReadOnlyList<AnchorMeasure> measures, IReadOnlyList<AnchorSystem> systems)
    {
        var table = new ResultTable("measure | brokers", tellsClient: true);
        foreach (var measure in measures)
        {
            foreach (var system in systems)
            {
                foreach (var (_, _, row) in _rows.Where(each => each.Measure == measure && each.System == system))
                {
                    table.Add($"{measure.Name} | {system.Name}", row.Result, row.CpuSeconds, row.Missing);
                }
            }
        }

        return table.ToMarkdown() + string.Join(
            Environment.NewLine, _failures.Select(static each => $"FAILED: {each}"));
    }

    private Task<Row> MeasureAsync(IAnchor anchor, AnchorMeasure measure, CancellationToken cancellationToken) =>
        measure switch
        {
            { Window: > 0 } => PublishAsync(anchor, measure.Window, cancellationToken),
            { Members: > 0 } => ConsumeAsync(anchor, measure.Members, measure.Together, cancellationToken),
            _ => DeliverAsync(anchor, measure.Rate, cancellationToken),
        };

    private string NextQueue() => string.Create(CultureInfo.InvariantCulture, $"anchor{++_queues}");

    /// <summary>What the measures do, for a while: brokers that were just started compile, connect and so on.</summary>
    private async Task WarmUpAsync(IAnchor anchor, CancellationToken cancellationToken)
    {
        var few = new AnchorRun(sizeBytes, warm / 4, warm, 20_000) { _queues = 1_000_000 + (_queues * 10) };
        await few.PublishAsync(anchor, 1, cancellationToken);
        await few.PublishAsync(anchor, 256, cancellationToken);
        if (anchor.HasGroups)
        {
            // Once is over too soon: programs that are compiled while they run are measured compiling, else.
            var begun = Stopwatch.GetTimestamp();
            do
            {
                await few.ConsumeAsync(anchor, 2, together: false, cancellationToken);
                if (anchor.AcksTogether)
                {
                    await few.ConsumeAsync(anchor, 1, together: true, cancellationToken);
                }
            }
            while (Stopwatch.GetElapsedTime(begun) < warm);
        }
    }

    private async Task<Row> PublishAsync(IAnchor anchor, int window, CancellationToken cancellationToken)
    {
        var queue = NextQueue();
        await anchor.MakeQueueAsync(queue, cancellationToken);
        await using var publisher = await anchor.PublisherAsync(queue, cancellationToken);
        var value = PublishLoad.Payload(sizeBytes);
        var settings = Settings(window, 0);
        var (cpu, allocated) = (anchor.CpuSeconds(), GC.GetTotalAllocatedBytes());
        var result = await PublishLoad.RunAsync(
            "publish", settings, _ => publisher.PublishAsync(value), cancellationToken);
        return new Row(
            result with { AllocatedBytesPerMessage = AllocatedSince(allocated, result.Messages) },
            anchor.CpuSeconds() - cpu,
            anchor.HasGroups ? await MissingAsync(anchor, queue, result.Messages, cancellationToken) : 0);
    }

    /// <summary>Confirmed messages that do not wait for the group; the nodes' figures may lag.</summary>
    private static async Task<long> MissingAsync(
        IAnchor anchor, string queue, long confirmed, CancellationToken cancellationToken)
    {
        var begun = Stopwatch.GetTimestamp();
        while (true)
        {
            var missing = confirmed - await anchor.LeftAsync(queue, cancellationToken);
            if (missing <= 0 || Stopwatch.GetElapsedTime(begun) > Visible)
            {
                return Math.Max(0, missing);
            }

            await Task.Delay(AnchorLimits.AskAgain, cancellationToken);
        }
    }

    private async Task<Row> ConsumeAsync(
        IAnchor anchor, int members, bool together, CancellationToken cancellationToken)
    {
        var queue = NextQueue();
        await anchor.MakeQueueAsync(queue, cancellationToken);
        var count = await FillAsync(anchor, queue, cancellationToken);
        var left = count;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var cpu = anchor.CpuSeconds();
        var (clientCpu, allocated) = (Environment.CpuUsage.TotalTime, GC.GetTotalAllocatedBytes());
        var begun = Stopwatch.GetTimestamp();
        var running = Enumerable.Range(0, members).Select(number => Task.Run(
            () => anchor.ConsumeAsync(
                new AnchorMember(
                    queue,
                    number,
                    together,
                    static _ => { },
                    settled =>
                    {
                        if (Interlocked.Add(ref left, -settled) <= 0)
                        {
                            done.TrySetResult();
                        }
                    }),
                stop.Token),
            CancellationToken.None)).ToList();
        var first = await Task.WhenAny([done.Task, Task.Delay(GiveUp, cancellationToken), .. running]);
        if (first != done.Task && running.Contains(first))
        {
            await first;
        }

        var (ended, used) = (Stopwatch.GetTimestamp(), anchor.CpuSeconds() - cpu);
        var clientUsed = Environment.CpuUsage.TotalTime - clientCpu;
        var allocatedThen = AllocatedSince(allocated, count);
        await stop.CancelAsync();
        await EndAsync(running, stop.Token);
        (ended, used) = anchor.Acks == AckProof.Answered
            ? (ended, used)
            : (Stopwatch.GetTimestamp(), anchor.CpuSeconds() - cpu);
        var stillThere = await WaitUntilEmptyAsync(anchor, queue, cancellationToken);
        (ended, used) = anchor.Acks == AckProof.AskedFor
            ? (Stopwatch.GetTimestamp(), anchor.CpuSeconds() - cpu)
            : (ended, used);
        return new Row(
            new LoadResult
            {
                Mode = "group",
                SizeBytes = sizeBytes,
                Messages = count,
                Seconds = Stopwatch.GetElapsedTime(begun, ended).TotalSeconds,
                ClientCpuSeconds = clientUsed.TotalSeconds,
                AllocatedBytesPerMessage = allocatedThen,
            },
            used,
            Math.Max(left, stillThere));
    }

    /// <returns>What is left all the same.</returns>
    private static async Task<long> WaitUntilEmptyAsync(
        IAnchor anchor, string queue, CancellationToken cancellationToken)
    {
        var begun = Stopwatch.GetTimestamp();
        while (true)
        {
            var left = await anchor.LeftAsync(queue, cancellationToken);
            if (left == 0 || Stopwatch.GetElapsedTime(begun) > Visible)
            {
                return left;
            }

            await Task.Delay(anchor.Acks == AckProof.AskedFor ? 5 : 200, cancellationToken);
        }
    }

    private static async Task EndAsync(IEnumerable<Task> members, CancellationToken stop)
    {
        try
        {
            await Task.WhenAll(members);
        }
        catch (Exception failure) when (stop.IsCancellationRequested
            && failure is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            // They were told to end.
        }
    }

    private async Task<long> FillAsync(IAnchor anchor, string queue, CancellationToken cancellationToken)
    {
        await using var publisher = await anchor.PublisherAsync(queue, cancellationToken);
        var value = PublishLoad.Payload(sizeBytes);
        var begun = Stopwatch.GetTimestamp();
        var count = 0L;
        while (count < backlog && Stopwatch.GetElapsedTime(begun) < duration)
        {
            var chunk = Math.Min(FillChunk, backlog - count);
            await PublishLoad.AllAsync(chunk, FillWindow, _ => publisher.PublishAsync(value));
            count += chunk;
        }

        return count;
    }

    private async Task<Row> DeliverAsync(IAnchor anchor, int rate, CancellationToken cancellationToken)
    {
        var queue = NextQueue();
        await anchor.MakeQueueAsync(queue, cancellationToken);
        await using var publisher = await anchor.PublisherAsync(queue, cancellationToken);
        var cpu = anchor.CpuSeconds();
        var result = await EndToEndLoad.RunAsync(
            Settings(0, rate),
            publisher.PublishAsync,
            async (receive, stop) => await anchor.ConsumeAsync(
                new AnchorMember(queue, 0, Together: false, receive, static _ => { }), stop),
            cancellationToken);
        return new Row(result, anchor.CpuSeconds() - cpu, 0);
    }

    private static double AllocatedSince(long before, long messages) =>
        (GC.GetTotalAllocatedBytes() - before) / (double)Math.Max(1, messages);

    private LoadSettings Settings(int window, int rate) => new()
    {
        Addresses = [],
        Topics = [],
        SizeBytes = sizeBytes,
        Window = window,
        Rate = rate,
        Duration = duration,
    };

    private sealed record Row(LoadResult Result, double CpuSeconds, long Missing);
}
