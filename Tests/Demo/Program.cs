using System.CommandLine;
using Broker.Tests.Demo;

// ./run --demo: the main job on Debian's package index, with the leader killed twice and Redis once.
var data = new Option<DirectoryInfo>("--data")
{
    Description = "Where the system keeps its data. It is used again, not emptied.",
    DefaultValueFactory = _ => new DirectoryInfo(Path.GetFullPath("broker-aspire-demo", Environment.GetFolderPath(
        Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify))),
};
var limit = Number("--limit", "Publish only so many records. 0: all.", 0);
// Slow enough that each victim is back before the next one falls, and all of them fall in mid-stream.
var rate = Number("--rate", "Records a second. 0: as fast as they go.", 2_500);
var leaderKills = Number("--leader-kills", "kill -9 of a leader, so often.", 2);
var redisKills = Number("--redis-kills", "kill -9 of Redis, so often.", 1);
var demo = new RootCommand("Publishes Debian's package index through the whole system while parts of it are killed.")
{
    data, limit, rate, leaderKills, redisKills,
};

demo.SetAction(async (parsed, cancellationToken) =>
{
    var records = await PackageIndex.ReadAvailableAsync(cancellationToken);
    var wanted = parsed.GetValue(limit);
    records = wanted > 0 ? [.. records.Take(wanted)] : records;
    var megabytes = records.Sum(record => (long)record.Text.Length) / 1_000_000;
    Console.WriteLine($"{records.Count:N0} records, {megabytes:N0} MB; starting the system");
    await using var system = await RunningSystem.StartAsync(parsed.GetValue(data)!.FullName, cancellationToken);
    var options = new MainJobOptions
    {
        LeaderKills = parsed.GetValue(leaderKills),
        RedisKills = parsed.GetValue(redisKills),
        Rate = parsed.GetValue(rate),
    };
    var job = new MainJob(system, system.Client, options, Console.WriteLine);
    var report = await job.RunAsync(records, cancellationToken);
    Console.WriteLine();
    Console.WriteLine(report);
    return report.IsPerfect ? 0 : 1;
});

return await demo.Parse(args).InvokeAsync();

static Option<int> Number(string name, string description, int standard) => new(name)
{
    Description = $"{description} Default {standard}.",
    DefaultValueFactory = _ => standard,
};
