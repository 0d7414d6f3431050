using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Tests.Simulation;

// Runs seeds: one seed is one random scenario on virtual time, the same on every machine. The last line counts them.
// README.md beside this file says how to read a failure and how to add faults, checks and planted bugs.
var seeds = new Option<int>("--seeds") { Description = "How many seeds to run.", DefaultValueFactory = _ => 1_000 };
var start = new Option<int>("--start") { Description = "The first seed.", DefaultValueFactory = _ => 1 };
var steps = new Option<long>("--steps")
{
    Description = "Steps with faults in each seed; then all heals.",
    DefaultValueFactory = _ => 15_000,
};
var kind = new Option<NodeKind?>("--kind")
{
    Description = "Core: only the Raft node, over a plain disk. Replica: everything below the API. Default: by turns.",
};
var jobs = new Option<int>("--jobs")
{
    Description = "Seeds at a time. Default: one a processor. The results do not depend on it.",
    DefaultValueFactory = _ => Environment.ProcessorCount,
};
var timeLimit = new Option<double?>("--time-limit") { Description = "Begins no seed after so many seconds." };
var firstFailure = new Option<bool>("--first-failure") { Description = "Ends with the lowest seed that fails." };
var trace = new Option<bool>("--trace") { Description = "Prints everything that happens, one seed after the other." };
var command = new RootCommand("Simulates whole clusters, each under the faults that its seed draws.")
{
    seeds, start, steps, kind, jobs, timeLimit, firstFailure, trace,
};
command.SetAction(parsed => RunSeeds(new SeedOptions
{
    First = parsed.GetValue(start),
    Count = parsed.GetValue(seeds),
    Steps = parsed.GetValue(steps),
    Kind = parsed.GetValue(kind),
    Jobs = parsed.GetValue(trace) ? 1 : Math.Max(1, parsed.GetValue(jobs)),
    TimeLimit = parsed.GetValue(timeLimit) is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
    StopsAtFailure = parsed.GetValue(firstFailure),
    IsTraced = parsed.GetValue(trace),
}));
return command.Parse(args).Invoke();

static int RunSeeds(SeedOptions options)
{
    const int SeedsPerProgressLine = 10_000;
    var watch = Stopwatch.StartNew();
    var figures = new Figures();
    var passed = 0;
    var failed = 0;
    new SeedRunner(options, result =>
    {
        figures.Add(result.Figures);
        if (result.Failure is null)
        {
            passed++;
        }
        else
        {
            failed++;
            Report(result, options);
        }

        if ((passed + failed) % SeedsPerProgressLine == 0)
        {
            Console.WriteLine($"{passed + failed} seeds, {failed} failed");
        }
    }).Run();

    Console.Write(figures.ToTable());
    Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture, $"{passed + failed:N0} seeds in {watch.Elapsed.TotalSeconds:F1} s"));
    Console.WriteLine($"{passed} passed, {failed} failed");
    return failed == 0 ? 0 : 1;
}

static void Report(SeedResult result, SeedOptions options)
{
    Console.WriteLine($"Seed {result.Seed} ({result.Kind}) failed: {result.Failure!.Message}");
    if (result.Failure is not SimulationException)
    {
        Console.WriteLine(result.Failure.StackTrace);
    }

    foreach (var line in result.LastLines)
    {
        Console.WriteLine(line);
    }

    Console.WriteLine(
        $"Replay: dotnet run --project Tests/Simulation -c Release -- --kind {result.Kind} --start {result.Seed} "
        + $"--seeds 1 --steps {options.Steps} --trace");
}
