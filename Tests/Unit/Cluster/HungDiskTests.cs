using Broker.Tests.Unit.GrpcCalls;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>Whole nodes, of which one has a disk that hangs under the files of one group.</summary>
public sealed class HungDiskTests
{
    /// <summary>As the simulation allows, see its World.</summary>
    private static readonly TimeSpan Standstill = TimeSpan.FromSeconds(3);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Leadership_leaves_a_disk_that_hangs_and_other_groups_go_on()
    {
        await using var cluster = await RunningNodes.StartAsync();
        await PublishToAllAsync(cluster);
        var victim = cluster.Shards[0];
        var node = cluster.LeaderOf(victim)!;
        var device = cluster.Devices[node.Options.NodeId.Value - 1];

        device.Hang(Path.Combine(node.Options.DataDirectory, $"group-{victim.Value:D4}"));
        await PublishToAllAsync(cluster);

        Assert.NotEqual(node, cluster.LeaderOf(victim));
        var condition = node.Group(victim).Status.Condition;
        Assert.True(condition.IsWriteStalled, "the node knows that it cannot write");
        Assert.False(condition.IsDiskFull, "its disk is not full");

        // What the others have is on the disk of this very node too, beside the write that hangs.
        foreach (var other in cluster.Shards.Skip(1))
        {
            var through = cluster.LeaderOf(other)!.Group(other).Status.LastIndex;
            await EchoServer.UntilAsync(
                () => node.Group(other).Status.CommitIndex >= through,
                $"node {node.Options.NodeId} writes for group {other}");
            Assert.False(node.Group(other).Status.Condition.IsWriteStalled, $"group {other} does not wait");
        }

        Assert.True(node.Group(victim).Status.Condition.IsWriteStalled, "the disk hangs all the while");
        device.Mend();
        await PublishToAllAsync(cluster);
        await EchoServer.UntilAsync(
            () => cluster.Nodes.TrueForAll(
                static each => each.Groups.All(static group => group.Status.Condition.IsWell)),
            "all are well when the disk is mended");
    }

    [Fact]
    public async Task Leadership_leaves_a_disk_that_is_almost_full_and_comes_to_no_such_disk()
    {
        await using var cluster = await RunningNodes.StartAsync();
        await PublishToAllAsync(cluster);
        var full = cluster.LeaderOf(cluster.Shards[0])!;
        var device = cluster.Devices[full.Options.NodeId.Value - 1];
        Assert.Equal("", full.DiskWarning);

        device.FreeSpace = full.Options.DiskReserveBytes + 1;
        await EchoServer.UntilAsync(() => full.DiskWarning.Length > 0, "the node warns");
        Assert.Null(full.RefusalForSpace);

        device.FreeSpace = full.Options.DiskReserveBytes - 1;
        await EchoServer.UntilAsync(
            () => full.Groups.All(group => cluster.LeaderOf(group.Id) is { } leader && leader != full),
            "others lead all groups");
        Assert.Contains("takes no publishes", full.DiskWarning, StringComparison.Ordinal);
        Assert.Contains("Broker:DiskReserveBytes", full.RefusalForSpace!.Message, StringComparison.Ordinal);

        // It is still written to: the others need it for their majority.
        await PublishToAllAsync(cluster);
        var through = cluster.LeaderOf(cluster.Shards[0])!.Group(cluster.Shards[0]).Status.LastIndex;
        await EchoServer.UntilAsync(
            () => full.Group(cluster.Shards[0]).Status.CommitIndex >= through, "the full node follows");

        device.FreeSpace = null;
        await EchoServer.UntilAsync(
            () => full.RefusalForSpace is null && full.DiskWarning == "", "there is space again");
    }

    /// <summary>Publishes to every group are acknowledged, each within what a group may stand still.</summary>
    private static Task PublishToAllAsync(RunningNodes cluster) => Task.WhenAll(cluster.Shards.Select(
        shard => cluster.PublishAsync(shard, Stop).WaitAsync(Standstill, Stop)));
}
