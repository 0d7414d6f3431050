using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class NodeStoreTests
{
    private const string Folder = "/data";
    private const int Shards = 3;
    private static readonly Guid FirstId = new("11111111-1111-1111-1111-111111111111");
    private static readonly Guid Cluster = new("22222222-2222-2222-2222-222222222222");
    private readonly SimulatedDevice _device = new(1);

    [Fact]
    public void Identity_is_drawn_once_and_kept()
    {
        using (var store = Open())
        {
            Assert.Equal((FirstId, new NodeId(1), "broker-1"), (store.StoreId, store.NodeId, store.NodeName));
            Assert.Null(store.ClusterId);
            store.SetClusterId(Cluster);
        }

        _device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var reopened = NodeStore.Open(_device, Folder, "broker-1", new NodeId(1), Shards, Guid.NewGuid);
        Assert.Equal(FirstId, reopened.StoreId);
        Assert.Equal(Cluster, reopened.ClusterId);
        reopened.SetClusterId(Cluster);
        Assert.Throws<StorageRefusedException>(() => reopened.SetClusterId(FirstId));
    }

    [Fact]
    public void A_disk_that_waits_is_taken_in_once_and_remembers_who_belongs()
    {
        using (var waiting = NodeStore.Open(_device, Folder, "broker-4", NodeId.None, Shards, () => FirstId))
        {
            Assert.False(waiting.IsFounded);
            waiting.Admit(
                new NodeId(4),
                2,
                Cluster,
                [new Founder(new NodeId(1), NodeRoles.Controller), new Founder(new NodeId(2), NodeRoles.Data)],
                [new KnownMember(new NodeId(4), "broker-4", "http://é:1")]);
        }

        _device.Crash(SimulatedDeviceCrash.DropUnsynced);
        var record = NodeStore.Peek(_device, Folder)!;
        Assert.Equal(new StoreIdentity(FirstId, new NodeId(4), "broker-4", Cluster, 2), record.Identity);
        Assert.Equal(
            [new Founder(new NodeId(1), NodeRoles.Controller), new Founder(new NodeId(2), NodeRoles.Data)],
            record.Founders);
        Assert.Equal([new KnownMember(new NodeId(4), "broker-4", "http://é:1")], record.Members);
        Assert.False(record.IsRemoved);
        using (var member = NodeStore.Open(_device, Folder, "broker-4", new NodeId(4), 2, Guid.NewGuid))
        {
            Assert.True(member.IsFounded);
            member.RememberMembers([new Founder(new NodeId(1), NodeRoles.Both)], []);
            member.MarkRemoved();
        }

        Assert.True(NodeStore.Peek(_device, Folder)!.IsRemoved);
        Assert.Throws<StorageRefusedException>(
            () => NodeStore.Open(_device, Folder, "broker-4", new NodeId(5), 2, Guid.NewGuid));
    }

    [Fact]
    public void A_record_of_format_2_is_read()
    {
        // As the version before this one wrote it: the tail of founders and members is missing.
        var former = new NodeRecord(
            new StoreIdentity(FirstId, new NodeId(1), "broker-1", Cluster, Shards),
            new Dictionary<NodeId, Guid> { [new NodeId(2)] = Cluster },
            [0, 1],
            Sequence: 7,
            [],
            []).Encode();
        var block = former[..^10];
        CheckedBlock.Seal(block, NodeRecord.Magic, 2);
        var read = NodeRecord.TryDecode(block, "node.id")!;
        Assert.Equal((Cluster, 7L), (read.Identity.ClusterId, read.Sequence));
        Assert.Equal([0, 1], read.Groups);
        Assert.Empty(read.Members);
        CheckedBlock.Seal(block, NodeRecord.Magic, 5);
        Assert.Throws<StorageRefusedException>(() => NodeRecord.TryDecode(block, "node.id"));
    }

    [Fact]
    public void A_record_of_format_3_is_read_and_its_nodes_have_both_roles()
    {
        // The founders 1 and 2 without their roles, no members, not removed, and no roles of its own.
        var block = new NodeRecord(
            new StoreIdentity(FirstId, new NodeId(1), "broker-1", Cluster, Shards),
            new Dictionary<NodeId, Guid>(),
            [],
            Sequence: 7,
            [],
            []).Encode()[..^10].Concat(Convert.FromHexString("02000000" + "01000000" + "02000000" + "00000000" + "01"))
            .ToArray();
        CheckedBlock.Seal(block, NodeRecord.Magic, 3);
        var read = NodeRecord.TryDecode(block, "node.id")!;
        Assert.Equal(
            [new Founder(new NodeId(1), NodeRoles.Both), new Founder(new NodeId(2), NodeRoles.Both)], read.Founders);
        Assert.Equal((true, NodeRoles.Both), (read.IsRemoved, read.Roles));
    }

    [Fact]
    public void A_disk_keeps_the_roles_that_it_began_with_and_a_refusal_says_what_to_do()
    {
        Open(NodeRoles.Data).Dispose();
        _device.Crash(SimulatedDeviceCrash.DropUnsynced);
        Assert.Equal(NodeRoles.Data, NodeStore.Peek(_device, Folder)!.Roles);
        var refusal = Assert.Throws<StorageRefusedException>(() => Open(NodeRoles.Both));
        Assert.Contains(
            "with the roles 'data', but Broker:Roles is 'controller,data'", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("give it an empty folder", refusal.Message, StringComparison.Ordinal);
        using var again = Open(NodeRoles.Data);
        Assert.Equal(FirstId, again.StoreId);
    }

    [Fact]
    public void Store_of_a_peer_is_pinned_durably()
    {
        var store = Open();
        Assert.Null(store.PinnedStore(new NodeId(2)));
        store.PinPeer(new NodeId(2), FirstId);
        store.PinPeer(new NodeId(2), Cluster);
        _device.Crash(SimulatedDeviceCrash.DropUnsynced);

        using var reopened = Open();
        Assert.Equal(Cluster, reopened.PinnedStore(new NodeId(2)));
    }

    [Fact]
    public void Founding_is_durable_with_the_peers_and_groups_that_it_was_done_with()
    {
        var store = Open();
        Assert.False(store.IsFounded);
        Founder[] founders = [new(new NodeId(1), NodeRoles.Both), new(new NodeId(2), NodeRoles.Data)];
        store.Found(
            [new GroupId(0), new GroupId(1)], new Dictionary<NodeId, Guid> { [new NodeId(2)] = Cluster }, founders);
        _device.Crash(SimulatedDeviceCrash.DropUnsynced);

        Assert.Equal(founders, NodeStore.Peek(_device, Folder)!.Founders);
        using var reopened = Open();
        Assert.True(reopened.IsFounded);
        Assert.True(reopened.IsKnownGroup(new GroupId(1)));
        Assert.Equal(Cluster, reopened.PinnedStore(new NodeId(2)));
    }

    [Theory]
    [InlineData("broker-2", 1)]
    [InlineData("broker-1", 2)]
    public void Another_nodes_disk_is_refused(string name, int id)
    {
        Open().Dispose();
        var refused = Assert.Throws<StorageRefusedException>(
            () => NodeStore.Open(_device, Folder, name, new NodeId(id), Shards, Guid.NewGuid));
        Assert.Contains("belongs to broker-1", refused.Message, StringComparison.Ordinal);
        Open().Dispose();
    }

    [Fact]
    public void Another_number_of_data_shards_is_refused_because_topics_would_be_looked_for_where_they_are_not()
    {
        Open().Dispose();
        var refused = Assert.Throws<StorageRefusedException>(
            () => NodeStore.Open(_device, Folder, "broker-1", new NodeId(1), Shards + 1, Guid.NewGuid));
        Assert.Contains("set it back to 3", refused.Message, StringComparison.Ordinal);
        Open().Dispose();
    }

    [Fact]
    public void Second_process_is_refused_until_the_first_ends()
    {
        var store = Open();
        Assert.Throws<StorageRefusedException>(Open);
        store.Dispose();
        Open().Dispose();
    }

    [Fact]
    public void Power_cut_in_any_operation_keeps_the_old_or_the_new_record()
    {
        for (var cutAt = 1; ; cutAt++)
        {
            var device = new SimulatedDevice(cutAt) { PowerCutAt = cutAt };
            var isSet = false;
            try
            {
                var store = NodeStore.Open(device, Folder, "broker-1", new NodeId(1), Shards, () => FirstId);
                store.SetClusterId(Cluster);
                isSet = true;
                store.PinPeer(new NodeId(2), FirstId);
                Assert.InRange(cutAt, 10, 40);
                return;
            }
            catch (SimulatedPowerCutException)
            {
                device.Crash(SimulatedDeviceCrash.Shuffle);
            }

            using var reopened = NodeStore.Open(device, Folder, "broker-1", new NodeId(1), Shards, () => FirstId);
            Assert.True(reopened.ClusterId == Cluster || !isSet);
        }
    }

    [Theory]
    [InlineData("node.id")]
    [InlineData("node.id.copy")]
    public void Damage_of_one_file_is_mended_from_the_other(string name)
    {
        using (var store = Open())
        {
            store.PinPeer(new NodeId(2), Cluster);
            store.AddKnownGroups([new GroupId(0), new GroupId(3)]);
        }

        var path = Path.Combine(Folder, name);
        for (var at = 0; at < _device.Length(path); at++)
        {
            CheckMended(at, device => device.Flip(path, at, (byte)(1 << (at % 8))));
            CheckMended(at, device => device.SetLength(path, at));
        }

        CheckMended(0, device => device.Delete(path));
    }

    [Fact]
    public void Damage_of_both_files_is_told_rather_than_taken_for_a_new_disk()
    {
        Open().Dispose();
        _device.Delete(Path.Combine(Folder, "node.id"));
        _device.Flip(Path.Combine(Folder, "node.id.copy"), 30, 1);
        Assert.Throws<StorageCorruptException>(Open);
    }

    [Fact]
    public void Known_groups_survive_a_restart()
    {
        var store = Open();
        Assert.False(store.IsKnownGroup(new GroupId(0)));
        store.AddKnownGroups([new GroupId(0), new GroupId(7)]);
        var operations = _device.OperationCount;
        store.AddKnownGroups([new GroupId(7)]);
        Assert.Equal(operations, _device.OperationCount);
        _device.Crash(SimulatedDeviceCrash.DropUnsynced);

        using var reopened = Open();
        Assert.True(reopened.IsKnownGroup(new GroupId(0)));
        Assert.True(reopened.IsKnownGroup(new GroupId(7)));
        Assert.False(reopened.IsKnownGroup(new GroupId(1)));
    }

    private void CheckMended(int seed, Action<SimulatedDevice> damage)
    {
        var device = _device.Clone(seed);
        damage(device);
        NodeStore.Open(device, Folder, "broker-1", new NodeId(1), Shards, Guid.NewGuid).Dispose();
        foreach (var name in new[] { "node.id", "node.id.copy" })
        {
            var alone = device.Clone(seed);
            alone.Delete(Path.Combine(Folder, name));
            using var store = NodeStore.Open(alone, Folder, "broker-1", new NodeId(1), Shards, Guid.NewGuid);
            Assert.Equal(FirstId, store.StoreId);
            Assert.True(store.IsKnownGroup(new GroupId(3)));
            Assert.Equal(Cluster, store.PinnedStore(new NodeId(2)));
        }
    }

    private NodeStore Open() => Open(NodeRoles.Both);

    private NodeStore Open(NodeRoles roles) =>
        NodeStore.Open(_device, Folder, "broker-1", new NodeId(1), Shards, () => FirstId, roles);
}
