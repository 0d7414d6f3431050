using System.Buffers;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.ClusterState;

/// <summary>Which nodes are to vote in which shard, as it is replicated.</summary>
public sealed class ShardPlacementTests
{
    private readonly Entries _entries = new();
    private readonly MetadataStateMachine _machine = new();

    private ClusterMembers Members => _machine.Members;

    [Fact]
    public void Commands_have_the_documented_bytes()
    {
        Assert.Equal(
            "05000000" + "28" + "03000000",
            Convert.ToHexString(Entries.Metadata(static into => MemberCommands.WriteShardVoters(into, 3))));
        Assert.Equal(
            "05000000" + "2A" + "03000000",
            Convert.ToHexString(Entries.Metadata(
                static into => MemberCommands.WriteShardVoters(into, 3, keepRecordsAlone: true))));
        Assert.Equal(
            "0F000000" + "29" + "02000000" + "0200" + "01000000" + "04000000",
            Convert.ToHexString(Entries.Metadata(
                static into => MemberCommands.WriteShardPlaced(into, new GroupId(2), [1, 4]))));
    }

    [Fact]
    public void A_number_of_voters_is_set_and_is_not_too_small()
    {
        Assert.Equal(RefusalCode.FailedPrecondition, Voters(3).Code);
        Found(5);
        Assert.Equal(RefusalCode.InvalidArgument, Voters(1).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Voters(2).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Voters(-1).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Voters(GroupConfiguration.MaxMembers + 1).Code);
        Assert.True(Voters(0).Duplicate);
        Assert.Equal(RefusalCode.None, Voters(3).Code);
        Assert.True(Voters(3).Duplicate);
        Assert.Equal(3, Members.ShardVoters);
    }

    [Fact]
    public void Only_members_that_hold_topics_come_in_and_only_while_some_are_to_vote()
    {
        Found(5, controllers: 1);
        Assert.Equal(RefusalCode.FailedPrecondition, Place(1, 2, 3, 4).Code);
        Voters(3);
        Assert.Equal(RefusalCode.None, Place(1, 2, 3, 4).Code);
        Assert.True(Place(1, 2, 3, 4).Duplicate);
        Assert.Equal(RefusalCode.InvalidArgument, Place(1, 3, 2, 4).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Place(0, 2, 3, 4).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Place(Limits.Shards + 1, 2, 3, 4).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Place(1).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Place(1, 1, 3, 4).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Place(1, 3, 4, 9).Code);

        // Who goes stays until it is replaced, and does not come in elsewhere.
        Change(4, MemberState.Leaving);
        Assert.Equal(RefusalCode.None, Place(1, 2, 4, 5).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Place(2, 2, 4, 5).Code);
        Assert.Equal([2, 4, 5], Members.Placements[1]);

        // When it has gone nothing names it any more.
        Change(4, MemberState.Left);
        Assert.Equal([2, 5], Members.Placements[1]);
        Voters(0);
        Assert.Equal(RefusalCode.None, Place(1).Code);
        Assert.True(Place(1).Duplicate);
        Assert.Empty(Members.Placements);
    }

    [Fact]
    public void Of_the_voters_of_a_shard_one_leads_that_does_not_drain()
    {
        Found(4);
        Voters(3);
        Place(1, 1, 2, 3);
        Drain(1);
        Drain(2);
        Assert.Equal(RefusalCode.FailedPrecondition, Apply(
            static into => MemberCommands.WriteDrained(into, new NodeId(3), true)).Code);
        Place(1, 1, 2, 4);
        Assert.Equal(RefusalCode.None, Drain(3).Code);
    }

    [Fact]
    public void Snapshots_hold_it_and_are_those_of_before_where_nothing_is_placed()
    {
        Found(4);
        Assert.Contains("0803", Convert.ToHexString(Snapshot(_machine)), StringComparison.Ordinal);
        Voters(3);
        Place(1, 1, 2, 4);
        Place(3, 2, 3, 4);
        var snapshot = Snapshot(_machine);
        Assert.Contains("0804", Convert.ToHexString(snapshot), StringComparison.Ordinal);
        Assert.EndsWith(
            "03" + "02" + "01" + "03010204" + "03" + "03020304",
            Convert.ToHexString(snapshot),
            StringComparison.Ordinal);
        var restored = new MetadataStateMachine();
        restored.Restore(snapshot);
        Assert.Equal(snapshot, Snapshot(restored));
        Assert.Equal(3, restored.Members.ShardVoters);
        Assert.Equal([1, 2, 4], restored.Members.Placements[1]);
        Assert.Equal([2, 3, 4], restored.Members.Placements[3]);

        // A node that is no member votes nowhere.
        snapshot[^1] = 9;
        Assert.Throws<InvalidDataException>(() => restored.Restore(snapshot));
    }

    [Fact]
    public void Only_those_that_vote_keep_records_where_it_is_said_so()
    {
        Found(4);
        Assert.Equal(RefusalCode.InvalidArgument, Voters(0, keepRecordsAlone: true).Code);
        Voters(3, keepRecordsAlone: true);
        Assert.True(Voters(3, keepRecordsAlone: true).Duplicate);
        Assert.True(Members.KeepsRecords(new NodeId(4), new GroupId(1))); // All vote there until somebody is named.
        Place(1, 1, 2, 4);
        Assert.True(Members.KeepsRecords(new NodeId(4), new GroupId(1)));
        Assert.False(Members.KeepsRecords(new NodeId(3), new GroupId(1)));
        var snapshot = Snapshot(_machine);
        Assert.Contains("0805", Convert.ToHexString(snapshot), StringComparison.Ordinal);
        var restored = new MetadataStateMachine();
        restored.Restore(snapshot);
        Assert.Equal(snapshot, Snapshot(restored));
        Assert.True(restored.Members.VotersKeepRecordsAlone);

        Assert.False(Voters(3).Duplicate);
        Assert.True(Members.KeepsRecords(new NodeId(3), new GroupId(1)));
        Assert.Contains("0804", Convert.ToHexString(Snapshot(_machine)), StringComparison.Ordinal);
    }

    private static byte[] Snapshot(MetadataStateMachine machine)
    {
        var buffer = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(buffer);
        return buffer.WrittenSpan.ToArray();
    }

    private void Found(int count, int controllers = 0) => Apply(into => MemberCommands.WriteFounded(
        into,
        [
            .. Enumerable.Range(1, count).Select(id =>
                new ClusterMember(new NodeId(id), $"n{id}", $"http://n{id}:1", MemberState.Member)
                {
                    Roles = id <= controllers ? NodeRoles.Controller : NodeRoles.Both,
                }),
        ]));

    private CommandResult Voters(int count, bool keepRecordsAlone = false) =>
        Apply(into => MemberCommands.WriteShardVoters(into, count, keepRecordsAlone));

    private CommandResult Place(int shard, params int[] voters) =>
        Apply(into => MemberCommands.WriteShardPlaced(into, new GroupId(shard), voters));

    private CommandResult Change(int id, MemberState state) =>
        Apply(into => MemberCommands.WriteChanged(into, new NodeId(id), state));

    private CommandResult Drain(int id) =>
        Apply(into => MemberCommands.WriteDrained(into, new NodeId(id), isDraining: true));

    private CommandResult Apply(Action<IBufferWriter<byte>> write) =>
        Entries.Apply(_machine, _entries.Of(Entries.Metadata(write)));
}
