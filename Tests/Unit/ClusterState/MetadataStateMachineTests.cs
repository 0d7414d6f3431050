using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.ClusterState;

public sealed class MetadataStateMachineTests
{
    private readonly Entries _entries = new();
    private readonly List<ClusterMetadata> _changes = [];
    private readonly MetadataStateMachine _machine;

    public MetadataStateMachineTests()
    {
        _machine = new MetadataStateMachine(_changes.Add);
    }

    [Fact]
    public void The_first_cluster_id_wins()
    {
        var first = Guid.NewGuid();
        Assert.False(Create(first).Duplicate);
        Assert.True(Create(Guid.NewGuid()).Duplicate);
        Assert.Equal(first, _machine.Current.ClusterId);
        Assert.Single(_changes);
    }

    [Fact]
    public void A_node_keeps_its_disk_and_may_change_its_name()
    {
        var store = Guid.NewGuid();
        Assert.Equal(RefusalCode.None, Register(1, "broker-1", store).Code);
        Assert.True(Register(1, "broker-1", store).Duplicate);
        Assert.Equal(RefusalCode.None, Register(1, "other", store).Code);
        Assert.Equal(RefusalCode.FailedPrecondition, Register(1, "other", Guid.NewGuid()).Code);
        Assert.Equal(new NodeRegistration(new NodeId(1), "other", store), _machine.Current.FindNode(new NodeId(1)));
        Assert.Null(_machine.Current.FindNode(new NodeId(2)));
        Assert.Equal(2, _changes.Count);
    }

    [Fact]
    public void A_lost_disk_is_replaced_by_another_and_never_comes_back()
    {
        var (lost, fresh) = (Guid.NewGuid(), Guid.NewGuid());
        Assert.Equal(RefusalCode.NotFound, Replace(1, "broker-1", fresh).Code);
        Register(1, "broker-1", lost);
        Assert.Equal(RefusalCode.FailedPrecondition, Replace(1, "other", fresh).Code);
        Assert.Equal(RefusalCode.None, Replace(1, "broker-1", fresh).Code);
        Assert.True(Replace(1, "broker-1", fresh).Duplicate);
        Assert.Equal(RefusalCode.FailedPrecondition, Replace(1, "broker-1", lost).Code);
        Assert.Equal(fresh, _machine.Current.FindNode(new NodeId(1))!.StoreId);
        Assert.Equal([lost], _machine.Current.RetiredStores);
    }

    [Fact]
    public void Nodes_are_bounded()
    {
        for (var i = 1; i <= Limits.ClusterNodes; i++)
        {
            Assert.Equal(RefusalCode.None, Register(i, $"n{i}", Guid.NewGuid()).Code);
        }

        Assert.Equal(RefusalCode.ResourceExhausted, Register(Limits.ClusterNodes + 1, "more", Guid.NewGuid()).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Register(0, "none", Guid.NewGuid()).Code);
    }

    [Fact]
    public void A_live_subscription_is_put_replaced_and_deleted()
    {
        Put("s", "a.*", "b");
        Put("s", "c.>");
        Assert.True(Put("s", "c.>").Duplicate);
        Assert.Equal(["c.>"], _machine.Current.LiveSubscriptions["s"].Filters);
        Assert.False(Delete("s").Duplicate);
        Assert.True(Delete("s").Duplicate);
        Assert.Empty(_machine.Current.LiveSubscriptions);
        Assert.Equal([1, 1, 0], _changes.Select(state => state.LiveSubscriptions.Count));
    }

    [Fact]
    public void Bad_live_subscriptions_are_refused()
    {
        Assert.Equal(RefusalCode.InvalidArgument, Put("", "a").Code);
        Assert.Equal(RefusalCode.InvalidArgument, Put(new string('x', 256), "a").Code);
        Assert.Equal(RefusalCode.InvalidArgument, Put("s").Code);
        Assert.Equal(RefusalCode.InvalidArgument, Put("s", "a..b").Code);
        Assert.Equal(
            RefusalCode.InvalidArgument,
            Put("s", [.. Enumerable.Range(0, Limits.FiltersPerLiveSubscription + 1).Select(i => $"f{i}")]).Code);
        Assert.Empty(_changes);
    }

    [Fact]
    public void Live_subscriptions_are_bounded_and_known_ones_can_still_change()
    {
        for (var i = 0; i < Limits.LiveSubscriptions; i++)
        {
            Put($"s{i}", "a");
        }

        Assert.Equal(RefusalCode.ResourceExhausted, Put("more", "a").Code);
        Assert.Equal(RefusalCode.None, Put("s5", "b").Code);
    }

    [Fact]
    public void An_entry_with_many_commands_changes_the_picture_once()
    {
        var entry = _entries.Of(
            Entries.Metadata(into => ClusterCommands.WriteClusterCreated(into, Guid.NewGuid())),
            Entries.Metadata(into => ClusterCommands.WritePutLiveSubscription(into, "s", ["a"])));
        Entries.Apply(_machine, entry);
        Assert.Single(_changes);
        Assert.Same(_changes[0], _machine.Current);
    }

    [Fact]
    public void Replicas_have_the_same_hash_and_differ_when_they_did_not_do_the_same()
    {
        var other = new MetadataStateMachine();
        var third = new MetadataStateMachine();
        var entry = _entries.Of(Entries.Metadata(into => ClusterCommands.WritePutLiveSubscription(into, "s", ["a"])));
        var different = new Entries().Of(
            Entries.Metadata(into => ClusterCommands.WritePutLiveSubscription(into, "s", ["b"])));
        _machine.Apply(entry, []);
        other.Apply(entry, []);
        third.Apply(different, []);
        Assert.Equal(_machine.StateHash, other.StateHash);
        Assert.NotEqual(_machine.StateHash, third.StateHash);
    }

    [Fact]
    public void A_command_of_another_group_breaks_an_invariant()
    {
        Assert.Throws<InvariantException>(() => _machine.Apply(_entries.Publish("a"), []));
    }

    private CommandResult Create(Guid id) =>
        Entries.Apply(_machine, _entries.Of(Entries.Metadata(into => ClusterCommands.WriteClusterCreated(into, id))));

    private CommandResult Register(int id, string name, Guid store) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(
            into => ClusterCommands.WriteNodeRegistered(into, new NodeRegistration(new NodeId(id), name, store)))));

    private CommandResult Replace(int id, string name, Guid store) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(
            into => ClusterCommands.WriteNodeReplaced(into, new NodeRegistration(new NodeId(id), name, store)))));

    private CommandResult Put(string name, params string[] filters) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(into => ClusterCommands.WritePutLiveSubscription(into, name, filters))));

    private CommandResult Delete(string name) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(into => ClusterCommands.WriteDeleteLiveSubscription(into, name))));
}
