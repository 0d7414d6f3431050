using System.CommandLine;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Parts of the heart alone, in memory: nanoseconds and allocated bytes per entry. About a minute.
/// </summary>
internal static class MicroVerb
{
    /// <summary>
    /// Batches of 1,000 entries in one measurement: a full-grown segment. Fixed, since the logs in memory only grow.
    /// </summary>
    private const int InvocationsPerIteration = 416;

    public static Command Create()
    {
        var work = new Option<DirectoryInfo>("--work")
        {
            Description = "Where the reports go. Default: a temporary folder.",
            DefaultValueFactory = _ => Directory.CreateTempSubdirectory("broker-micro-"),
        };
        var command = new Command("micro", "Measures time and allocations of storage and consensus, in memory.")
        {
            work,
        };
        command.SetAction(parsed =>
        {
            var job = Job.ShortRun
                .WithToolchain(InProcessEmitToolchain.Instance)
                .WithInvocationCount(InvocationsPerIteration)
                .WithUnrollFactor(16);
            var config = DefaultConfig.Instance
                .AddJob(job)
                .WithArtifactsPath(parsed.GetRequiredValue(work).FullName);
            BenchmarkRunner.Run([typeof(LogWriteBenchmark), typeof(RaftBenchmark)], config);
            return 0;
        });
        return command;
    }
}
