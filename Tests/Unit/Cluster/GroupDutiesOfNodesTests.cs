using System.Buffers;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Tests.Unit.GrpcCalls;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>What the metadata group says of consumer groups reaches every shard of every node.</summary>
public sealed class GroupDutiesOfNodesTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_group_is_opened_in_every_shard_at_once_and_closed_when_it_is_deleted()
    {
        await using var running = await RunningNodes.StartAsync();
        var settings = new ConsumerGroupSettings { Filters = ["a.>"] };
        var made = await ChangeAsync(running, into => ConsumerGroupCommands.WriteCreate(
            into, "workers", settings, new GroupStart(GroupStartKind.Beginning)));
        Assert.Equal(RefusalCode.None, made.Code);
        var number = (int)made.BaseOffset;
        await EchoServer.UntilAsync(
            () => running.Nodes.TrueForAll(node => node.ConsumerGroups.Find("workers")?.Number == number
                && Open(node).All(open => open.Contains(number))),
            "all replicas of all shards have opened the group");

        Assert.Equal(
            RefusalCode.None,
            (await ChangeAsync(running, into => ConsumerGroupCommands.WriteDelete(into, "workers"))).Code);
        await EchoServer.UntilAsync(
            () => running.Nodes.TrueForAll(node => node.ConsumerGroups.Find("workers") is null
                && Open(node).All(static open => open.Count == 0)),
            "all replicas of all shards have closed the group");
    }

    private static IEnumerable<IReadOnlySet<int>> Open(BrokerNode node) =>
        node.DataShards.Select(static shard => shard.Machine.Module<GroupProgressModule>().OpenGroups);

    private static async Task<CommandResult> ChangeAsync(RunningNodes running, Action<IBufferWriter<byte>> write)
    {
        var command = new ArrayBufferWriter<byte>();
        write(command);
        await EchoServer.UntilAsync(
            () => running.LeaderOf(GroupId.Metadata) is not null, "the metadata group has a leader");
        return await running.LeaderOf(GroupId.Metadata)!.ProposeMetadataAsync(command.WrittenMemory, Stop);
    }
}
