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
    public void First_store_of_a_peer_is_pinned_durably()
    {
        var store = Open();
        Assert.True(store.TryPinPeer(new NodeId(2), Cluster, out var pinned));
        Assert.Equal(Cluster, pinned);
        _device.Crash(SimulatedDeviceCrash.DropUnsynced);

        using var reopened = Open();
        Assert.False(reopened.TryPinPeer(new NodeId(2), FirstId, out pinned));
        Assert.Equal(Cluster, pinned);
        Assert.True(reopened.TryPinPeer(new NodeId(2), Cluster, out _));
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
                store.TryPinPeer(new NodeId(2), FirstId, out _);
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

    [Fact]
    public void Flipped_bit_is_refused()
    {
        using (var store = Open())
        {
            store.TryPinPeer(new NodeId(2), Cluster, out _);
        }

        var path = Path.Combine(Folder, "node.id");
        for (var at = 0; at < _device.Length(path); at++)
        {
            var device = _device.Clone(at);
            device.Flip(path, at, (byte)(1 << (at % 8)));
            Assert.Throws<StorageCorruptException>(
                () => NodeStore.Open(device, Folder, "broker-1", new NodeId(1), Shards, Guid.NewGuid));
        }
    }

    private NodeStore Open() => NodeStore.Open(_device, Folder, "broker-1", new NodeId(1), Shards, () => FirstId);
}
