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
            "0803" + "01" + "01" + "01" + "0162" + "0163" + "02" + "00" + "03" + "01" + "01" + "03" + "00",
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

    [Fact]
    public void Founders_and_joiners_have_roles_and_the_last_of_each_stays()
    {
        Assert.Equal(RefusalCode.InvalidArgument, Found(NodeRoles.Data, NodeRoles.Data).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Found(NodeRoles.Controller).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Found(NodeRoles.None, NodeRoles.Both).Code);
        Assert.Equal(RefusalCode.None, Found(NodeRoles.Controller, NodeRoles.Data, NodeRoles.Data).Code);
        Assert.Equal(
            [NodeRoles.Controller, NodeRoles.Data, NodeRoles.Data],
            Members.Nodes.Values.Select(static member => member.Roles));

        // The only controller; then there are two, and the same disk has no other roles.
        Assert.Equal(RefusalCode.FailedPrecondition, Change(1, MemberState.Leaving).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Drain(1, true).Code);
        Assert.Equal(4, Join("n4", Disk, roles: NodeRoles.Controller).BaseOffset);
        Assert.True(Join("n4", Disk, roles: NodeRoles.Controller).Duplicate);
        Assert.Equal(RefusalCode.FailedPrecondition, Join("n4", Disk).Code);
        Change(4, MemberState.Member);
        Assert.Equal(RefusalCode.None, Drain(1, true).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Drain(4, true).Code);
        Change(1, MemberState.Leaving);
        Change(1, MemberState.Left);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(4, MemberState.Leaving).Code);

        // Of two data nodes one may go. What a controller never votes in it is not to lead.
        Assert.Equal(RefusalCode.NotFound, Place(new GroupId(1), 4).Code);
        Assert.Equal(RefusalCode.NotFound, Place(GroupId.Metadata, 2).Code);
        Assert.Equal(RefusalCode.None, Place(new GroupId(1), 3).Code);
        Change(2, MemberState.Leaving);
        Change(2, MemberState.Left);
        Assert.Equal(RefusalCode.FailedPrecondition, Change(3, MemberState.Leaving).Code);
        Assert.Equal(
            [NodeRoles.Controller, NodeRoles.Data, NodeRoles.Data],
            Members.ListFounders().Select(static founder => founder.Roles));
    }

    [Fact]
    public void Snapshots_hold_roles_and_those_without_them_are_read_as_of_nodes_with_both()
    {
        Found(NodeRoles.Controller, NodeRoles.Both, NodeRoles.Data);
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        var restored = new MetadataStateMachine();
        restored.Restore(snapshot.WrittenSpan);
        Assert.Equal(Members.Nodes.Values, restored.Members.Nodes.Values);
        Assert.Equal(Members.ListFounders(), restored.Members.ListFounders());

        const string WithFlags = "4D04" + "05" + "00" + "0100000000000000" + "02" + "0202" + "00000000"
            + "0802" + "01" + "01" + "01" + "0162" + "0163" + "02" + "01" + "01" + "01" + "00";
        restored.Restore(Convert.FromHexString(WithFlags));
        Assert.Equal(
            new ClusterMember(new NodeId(1), "b", "c", MemberState.Member) { IsDraining = true },
            Assert.Single(restored.Members.Nodes).Value);
        Assert.Equal([new Founder(new NodeId(1), NodeRoles.Both)], restored.Members.ListFounders());
    }

    [Fact]
    public void Where_all_have_both_roles_the_commands_are_those_of_before_there_were_roles()
    {
        ClusterMember[] two =
        [
            new(new NodeId(1), "b", "c", MemberState.Member),
            new(new NodeId(2), "d", "e", MemberState.Member) { Roles = NodeRoles.Data },
        ];
        Assert.Equal(
            "0D000000" + "20" + "0100" + "01000000" + "010062" + "010063",
            Convert.ToHexString(Entries.Metadata(into => MemberCommands.WriteFounded(into, two[..1]))));
        Assert.Equal(
            "19000000" + "26" + "0200" + "01000000" + "010062" + "010063" + "03"
                + "02000000" + "010064" + "010065" + "02",
            Convert.ToHexString(Entries.Metadata(into => MemberCommands.WriteFounded(into, two))));
        var disk = new Guid("00010203-0405-0607-0809-0a0b0c0d0e0f");
        var with = Convert.ToHexString(Entries.Metadata(into => MemberCommands.WriteJoined(
            into, disk, "b", "c", NodeRoles.Controller)));
        Assert.StartsWith("18000000" + "27", with, StringComparison.Ordinal);
        Assert.EndsWith("010062" + "010063" + "01", with, StringComparison.Ordinal);
        Assert.StartsWith(
            "17000000" + "21",
            Convert.ToHexString(Entries.Metadata(into => MemberCommands.WriteJoined(into, disk, "b", "c"))),
            StringComparison.Ordinal);
    }

    private CommandResult Found(params NodeRoles[] roles) => Apply(into => MemberCommands.WriteFounded(
        into,
        [
            .. roles.Select(static (role, at) =>
                new ClusterMember(new NodeId(at + 1), $"n{at + 1}", $"http://n{at + 1}:1", MemberState.Member)
                {
                    Roles = role,
                }),
        ]));

    private CommandResult Drain(int id, bool drains) =>
        Apply(into => MemberCommands.WriteDrained(into, new NodeId(id), drains));

    private CommandResult Found() => Found(NodeRoles.Both, NodeRoles.Both, NodeRoles.Both);

    private CommandResult Join(
        string name, Guid disk, string address = "http://n:1", NodeRoles roles = NodeRoles.Both) =>
        Apply(into => MemberCommands.WriteJoined(into, disk, name, address, roles));

    private CommandResult Change(int id, MemberState state) =>
        Apply(into => MemberCommands.WriteChanged(into, new NodeId(id), state));

    private CommandResult Place(GroupId shard, int node) =>
        Apply(into => MemberCommands.WriteLeaderPlaced(into, shard, new NodeId(node)));

    private CommandResult Apply(Action<IBufferWriter<byte>> write) =>
        Entries.Apply(_machine, _entries.Of(Entries.Metadata(write)));
}
