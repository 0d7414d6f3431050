using System.Buffers;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.ClusterState;

public sealed class MemberModuleTests
{
    private static readonly Guid Disk = Guid.NewGuid();

    private readonly Entries _entries = new();
    private readonly MetadataStateMachine _machine = new();

    public MemberModuleTests()
    {
        for (var id = 1; id <= 3; id++)
        {
            var node = new NodeRegistration(new NodeId(id), $"n{id}", Guid.NewGuid());
            Apply(into => ClusterCommands.WriteNodeRegistered(into, node));
        }
    }

    private ClusterMembers Members => _machine.Members;

    [Fact]
    public void The_documented_examples_are_written()
    {
        Assert.Equal(
            "06000000" + "23" + "04000000" + "03",
            Convert.ToHexString(Entries.Metadata(
                static into => MemberCommands.WriteChanged(into, new NodeId(4), MemberState.Leaving))));
        Apply(static into => MemberCommands.WriteFounded(
            into, [new ClusterMember(new NodeId(1), "b", "c", MemberState.Member)]));
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        Assert.EndsWith(
            "0802" + "01" + "01" + "01" + "0162" + "0163" + "02" + "00" + "01" + "01" + "00",
            Convert.ToHexString(snapshot.WrittenSpan),
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_first_word_on_who_the_members_are_holds()
    {
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n4", Disk).Code);
        Assert.Equal(RefusalCode.None, Found().Code);
        Assert.True(Found().Duplicate);
        Assert.Equal([1, 2, 3], Members.Founders);
        Assert.All(Members.Nodes.Values, static member => Assert.Equal(MemberState.Member, member.State));
    }

    [Fact]
    public void A_node_gets_a_number_that_nobody_had_and_the_same_one_when_it_asks_again()
    {
        Found();
        Assert.Equal(4, Join("n4", Disk).BaseOffset);
        var again = Join("n4", Disk, "http://moved:1");
        Assert.Equal((true, 4L), (again.Duplicate, again.BaseOffset));
        Assert.Equal("http://moved:1", Members.Find(new NodeId(4))!.Address);
        Assert.Equal(Disk, _machine.Current.FindNode(new NodeId(4))!.StoreId);

        // Its name with another disk, its disk under another name.
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n4", Guid.NewGuid()).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n5", Disk).Code);

        Change(4, MemberState.Leaving);
        Change(4, MemberState.Left);
        Assert.Contains(Disk, _machine.Current.RetiredStores);
        Assert.Null(_machine.Current.FindNode(new NodeId(4)));
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n4", Disk).Code);
        Assert.Equal(5, Join("n4", Guid.NewGuid()).BaseOffset);
    }

    [Fact]
    public void Members_change_one_at_a_time()
    {
        Found();
        Join("n4", Disk);
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n5", Guid.NewGuid()).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(1, MemberState.Leaving).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(1, MemberState.Left).Code);
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Member).Code);
        Assert.True(Change(4, MemberState.Member).Duplicate);
        Assert.Equal(RefusalCode.None, Change(1, MemberState.Leaving).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(1, MemberState.Member).Code);
        Assert.Equal(RefusalCode.None, Change(1, MemberState.Left).Code);
        Assert.True(Change(1, MemberState.Left).Duplicate);
        Assert.Equal(RefusalCode.NotFound, Change(1, MemberState.Member).Code);
        Assert.Equal([2, 3, 4], Members.Nodes.Keys);
        Assert.Equal([1, 2, 3], Members.Founders);
    }

    [Fact]
    public void The_last_member_stays()
    {
        Found();
        foreach (var id in new[] { 1, 2 })
        {
            Change(id, MemberState.Leaving);
            Change(id, MemberState.Left);
        }

        Assert.Equal(RefusalCode.FailedPrecondition, Change(3, MemberState.Leaving).Code);
    }

    [Fact]
    public void A_shard_is_led_where_it_was_put_until_that_member_leaves()
    {
        Found();
        var shard = new GroupId(2);
        Assert.Equal(NodeId.None, Members.LeaderOf(shard));
        Assert.Equal(RefusalCode.None, Place(shard, 3).Code);
        Assert.True(Place(shard, 3).Duplicate);
        Assert.Equal(RefusalCode.NotFound, Place(shard, 9).Code);
        Assert.Equal(new NodeId(3), Members.LeaderOf(shard));
        Change(3, MemberState.Leaving);
        Change(3, MemberState.Left);
        Assert.Equal(NodeId.None, Members.LeaderOf(shard));
    }

    [Fact]
    public void A_silent_member_is_evicted_and_joins_again_with_its_number_and_its_disk()
    {
        Found();
        Join("n4", Disk);
        Change(4, MemberState.Member);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(4, MemberState.Evicted).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(4, MemberState.Joining).Code);
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Evicting).Code);
        Assert.True(Change(4, MemberState.Evicting).Duplicate);

        // One at a time.
        Assert.Equal(new NodeId(4), Members.Changing!.Id);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(3, MemberState.Evicting).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n5", Guid.NewGuid()).Code);
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Evicted).Code);
        Assert.Null(Members.Changing);
        Assert.Equal(RefusalCode.None, Change(3, MemberState.Evicting).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(4, MemberState.Joining).Code);
        Change(3, MemberState.Evicted);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(4, MemberState.Member).Code);
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Joining).Code);

        // It is silent again while it comes in.
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Evicting).Code);
        Change(4, MemberState.Evicted);
        Change(4, MemberState.Joining);
        Assert.Equal(RefusalCode.None, Change(4, MemberState.Member).Code);
        Assert.Equal(Disk, _machine.Current.FindNode(new NodeId(4))!.StoreId);
        Assert.Empty(_machine.Current.RetiredStores);

        // Its operator may give one up that is away.
        Assert.Equal(RefusalCode.None, Change(3, MemberState.Leaving).Code);
        Assert.Equal(RefusalCode.None, Change(3, MemberState.Left).Code);
        Assert.Equal([1, 2, 4], Members.Nodes.Keys);
    }

    [Fact]
    public void A_member_drains_until_it_is_told_otherwise_unless_nobody_else_could_lead()
    {
        Found();
        Assert.Equal(RefusalCode.NotFound, Drain(9, true).Code);
        Assert.True(Drain(1, false).Duplicate);
        Assert.Equal(RefusalCode.None, Drain(1, true).Code);
        Assert.True(Drain(1, true).Duplicate);
        Assert.Equal(RefusalCode.None, Drain(2, true).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Drain(3, true).Code);
        Assert.Equal([true, true, false], Members.Nodes.Values.Select(static each => each.IsDraining));
        Assert.Equal(RefusalCode.None, Drain(1, false).Code);
        Assert.Equal(RefusalCode.None, Drain(3, true).Code);
    }

    [Fact]
    public void Snapshots_hold_who_is_evicted_and_who_drains_and_those_of_before_are_read()
    {
        Found();
        Change(3, MemberState.Evicting);
        Change(3, MemberState.Evicted);
        Drain(1, true);
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        var restored = new MetadataStateMachine();
        restored.Restore(snapshot.WrittenSpan);
        Assert.Equal(Members.Nodes.Values, restored.Members.Nodes.Values);

        const string Before = "4D04" + "05" + "00" + "0100000000000000" + "02" + "0202" + "00000000"
            + "0801" + "01" + "01" + "01" + "0162" + "0163" + "02" + "01" + "01" + "00";
        restored.Restore(Convert.FromHexString(Before));
        Assert.Equal(
            new ClusterMember(new NodeId(1), "b", "c", MemberState.Member),
            Assert.Single(restored.Members.Nodes).Value);
    }

    private CommandResult Drain(int id, bool drains) =>
        Apply(into => MemberCommands.WriteDrained(into, new NodeId(id), drains));

    private CommandResult Found() => Apply(static into => MemberCommands.WriteFounded(
        into,
        [
            .. Enumerable.Range(1, 3).Select(static id =>
                new ClusterMember(new NodeId(id), $"n{id}", $"http://n{id}:1", MemberState.Member)),
        ]));

    private CommandResult Join(string name, Guid disk, string address = "http://n:1") =>
        Apply(into => MemberCommands.WriteJoined(into, disk, name, address));

    private CommandResult Change(int id, MemberState state) =>
        Apply(into => MemberCommands.WriteChanged(into, new NodeId(id), state));

    private CommandResult Place(GroupId shard, int node) =>
        Apply(into => MemberCommands.WriteLeaderPlaced(into, shard, new NodeId(node)));

    private CommandResult Apply(Action<IBufferWriter<byte>> write) =>
        Entries.Apply(_machine, _entries.Of(Entries.Metadata(write)));
}
