using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Tests.Simulation;

// Runs seeds: one seed is one random scenario on virtual time, the same on every machine. The last line counts them.
var seeds = new Option<int>("--seeds") { Description = "How many seeds to run.", DefaultValueFactory = _ => 400 };
var start = new Option<int>("--start") { Description = "The first seed.", DefaultValueFactory = _ => 1 };
var steps = new Option<long>("--steps")
{
    Description = "Steps with faults in each seed; then all heals.",
    DefaultValueFactory = _ => 20_000,
};
var trace = new Option<bool>("--trace") { Description = "Prints everything that happens." };
var kind = new Option<NodeKind?>("--kind")
{
    Description = "Core: only the Raft node, over a plain disk. Replica: everything below the API. Default: by turns.",
};
var command = new RootCommand("Simulates whole clusters, each under the faults that its seed draws.")
{
    seeds, start, steps, kind, trace,
};
command.SetAction(parsed => RunSeeds(
    parsed.GetValue(start),
    parsed.GetValue(seeds),
    parsed.GetValue(steps),
    parsed.GetValue(kind),
    parsed.GetValue(trace)));
return command.Parse(args).Invoke();

static int RunSeeds(int start, int count, long steps, NodeKind? onlyKind, bool trace)
{
    var watch = Stopwatch.StartNew();
    var passed = 0;
    var failed = 0;
    long acknowledged = 0;
    long elections = 0;
    for (var seed = start; seed < start + count; seed++)
    {
        var kind = onlyKind ?? (seed % 2 == 0 ? NodeKind.Core : NodeKind.Replica);
        var world = new World(seed, kind, trace ? Console.Out : null, keepTraceLines: 0);
        try
        {
            world.Run(steps);
            passed++;
        }
        catch (Exception failure) when (IsFinding(failure))
        {
            failed++;
            Report(seed, kind, steps, failure, trace);
        }

        acknowledged += world.History.Acknowledged;
        elections += world.History.Elections;
    }

    Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"{acknowledged:N0} acknowledged, {elections:N0} elections, {watch.Elapsed.TotalSeconds:F1} s"));
    Console.WriteLine($"{passed} passed, {failed} failed");
    return failed == 0 ? 0 : 1;
}

// A bug may also show as an exception of the code under test; none of those is expected to reach the top.
static bool IsFinding(Exception failure) => failure is not OutOfMemoryException;

static void Report(int seed, NodeKind kind, long steps, Exception failure, bool traced)
{
    Console.WriteLine($"Seed {seed} ({kind}) failed: {failure.Message}");
    if (failure is not SimulationException)
    {
        Console.WriteLine(failure.StackTrace);
    }

    if (!traced)
    {
        // The run is the same every time, so the last lines before the failure can be had by running it again.
        var again = new World(seed, kind, liveTrace: null, keepTraceLines: 40);
        try
        {
            again.Run(steps);
        }
        catch (Exception same) when (IsFinding(same))
        {
            Console.WriteLine(string.Join(Environment.NewLine, again.Trace.LastLines));
        }
    }

    Console.WriteLine(
        $"Replay: dotnet run --project Tests/Simulation -- --kind {kind} --start {seed} --seeds 1 --steps {steps} "
        + "--trace");
}
