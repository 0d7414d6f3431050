using System.Diagnostics;

namespace Broker.Tests.Simulation;

/// <summary>
/// Runs many seeds, several at a time. Each is a world of its own that shares nothing, so that neither their number at
/// a time nor their order changes what any of them does; results are handed on in the order of seeds.
/// </summary>
internal sealed class SeedRunner(SeedOptions options, Action<SeedResult> report)
{
    private const int LastTraceLines = 40;

    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly Lock _gate = new();

    /// <summary>Results that are there before those of lower seeds.</summary>
    private readonly Dictionary<int, SeedResult> _early = [];

    private int _nextSeed = options.First;
    private int _nextReport = options.First;
    private bool _isOver;

    public void Run() => Parallel.For(
        0, options.Jobs, new ParallelOptions { MaxDegreeOfParallelism = options.Jobs }, _ => RunSeeds());

    private void RunSeeds()
    {
        while (TryTake(out var seed))
        {
            Hand(RunSeed(seed));
        }
    }

    private bool TryTake(out int seed)
    {
        lock (_gate)
        {
            seed = _nextSeed;
            var isLate = options.TimeLimit is { } limit && _watch.Elapsed > limit;
            if (_isOver || isLate || seed - options.First >= options.Count)
            {
                return false;
            }

            _nextSeed++;
            return true;
        }
    }

    private void Hand(SeedResult result)
    {
        lock (_gate)
        {
            _early.Add(result.Seed, result);
            while (!_isOver && _early.Remove(_nextReport, out var next))
            {
                _nextReport++;
                _isOver = options.StopsAtFailure && next.Failure is not null;
                report(next);
            }
        }
    }

    private SeedResult RunSeed(int seed)
    {
        var kind = options.KindOf(seed);
        var world = new World(seed, kind, options.IsTraced ? Console.Out : null, keepTraceLines: 0);
        if (TryRun(world) is not { } failure)
        {
            return new SeedResult(seed, kind, world.Figures, null, []);
        }

        if (options.IsTraced)
        {
            return new SeedResult(seed, kind, world.Figures, failure, []);
        }

        // The run is the same every time, so the last lines before the failure can be had by running it again.
        var again = new World(seed, kind, liveTrace: null, LastTraceLines);
        var same = TryRun(again);
        var lines = again.Trace.LastLines.ToList();
        if (same?.Message != failure.Message)
        {
            lines.Add($"NOT REPEATABLE: run again, it ends with: {same?.Message ?? "no failure"}");
        }

        return new SeedResult(seed, kind, world.Figures, failure, lines);
    }

    /// <summary>
    /// A bug may also show as an exception of the code under test; none of those is expected to reach the top.
    /// </summary>
    private Exception? TryRun(World world)
    {
        try
        {
            world.Run(options.Steps);
            return null;
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            return failure;
        }
    }
}
