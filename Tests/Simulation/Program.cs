using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Domain;
using Broker.Tests.Simulation;

// Runs seeds: one seed is one random scenario on virtual time, the same on every machine. The last line counts them.
var seeds = new Option<int>("--seeds") { Description = "How many seeds to run.", DefaultValueFactory = _ => 100 };
var start = new Option<int>("--start") { Description = "The first seed.", DefaultValueFactory = _ => 1 };
var steps = new Option<long>("--steps")
{
    Description = "Steps with faults in each seed; then all heals.", DefaultValueFactory = _ => 20_000,
};
var trace = new Option<bool>("--trace") { Description = "Prints everything that happens." };
var command = new RootCommand("Simulates whole clusters, each under the faults that its seed draws.")
{
    seeds, start, steps, trace,
};
command.SetAction(parsed => RunSeeds(
    parsed.GetValue(start), parsed.GetValue(seeds), parsed.GetValue(steps), parsed.GetValue(trace)));
return command.Parse(args).Invoke();

static int RunSeeds(int start, int count, long steps, bool trace)
{
    var watch = Stopwatch.StartNew();
    var passed = 0;
    var failed = 0;
    long acknowledged = 0;
    long elections = 0;
    for (var seed = start; seed < start + count; seed++)
    {
        var world = new World(seed, trace ? Console.Out : null, keepTraceLines: 0);
        try
        {
            world.Run(steps);
            passed++;
        }
        catch (Exception failure) when (failure is SimulationException or InvariantException)
        {
            failed++;
            Report(seed, steps, failure, trace);
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

static void Report(int seed, long steps, Exception failure, bool traced)
{
    Console.WriteLine($"Seed {seed} failed: {failure.Message}");
    if (!traced)
    {
        // The run is the same every time, so the last lines before the failure can be had by running it again.
        var again = new World(seed, liveTrace: null, keepTraceLines: 40);
        try
        {
            again.Run(steps);
        }
        catch (Exception same) when (same is SimulationException or InvariantException)
        {
            Console.WriteLine(string.Join(Environment.NewLine, again.Trace.LastLines));
        }
    }

    Console.WriteLine(
        $"Replay: dotnet run --project Tests/Simulation -- --start {seed} --seeds 1 --steps {steps} --trace");
}
