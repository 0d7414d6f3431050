using System.CommandLine;
using System.Globalization;

namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>
/// A group's members are killed and cut off, and shards' leaders are killed, under a steady load: nothing is lost,
/// nothing comes again that is settled, and soon after the last fault all is settled.
/// </summary>
internal static class FaultsVerb
{
    public static Command Create()
    {
        var rate = NumberOption.Make("--rate", 5_000, 1, 100_000, "Messages a second.");
        var secs = NumberOption.Seconds(120, "Seconds of faults.");
        var every = NumberOption.Make("--every", 2.0, 0.2, 600, "Seconds between faults of members.");
        var leaders = NumberOption.Make(
            "--leaders", 10.0, 1, 600, "Seconds from a leader that is back to the next one that is killed.");
        var wait = NumberOption.Make("--ack-wait", 5.0, 0.1, 600, "Seconds that a record is its member's.");
        var command = new Command(
            "groups-faults", "Checks a group whose members and leaders are killed under load.")
        {
            rate, secs, every, leaders, wait,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var settings = new FaultSettings(
                parsed.GetValue(rate),
                TimeSpan.FromSeconds(parsed.GetValue(secs)),
                TimeSpan.FromSeconds(parsed.GetValue(every)),
                TimeSpan.FromSeconds(parsed.GetValue(leaders)),
                TimeSpan.FromSeconds(parsed.GetValue(wait)));
            var code = 1;
            await BrokerCluster.InTemporaryFolderAsync("faults", async folder =>
            {
                await using var soak = await FaultSoak.StartAsync(settings, folder, cancellationToken);
                code = await soak.RunAsync(cancellationToken);
            });
            return code;
        });
        return command;
    }
}

/// <param name="Rate">Messages a second.</param>
/// <param name="Duration">How long there are faults.</param>
/// <param name="Every">From one fault of a member to the next.</param>
/// <param name="Leaders">From a killed leader's return to the next one's death.</param>
/// <param name="AckWait">The group's.</param>
internal sealed record FaultSettings(
    int Rate, TimeSpan Duration, TimeSpan Every, TimeSpan Leaders, TimeSpan AckWait)
{
    public string Tell() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Rate:N0} messages/s, {Duration.TotalSeconds:N0} s, a member's fault every {Every.TotalSeconds:N1} s, "
        + $"ack wait {AckWait.TotalSeconds:N1} s");
}
