using System.Collections.Immutable;
using Broker.Client;
using Broker.Domain;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The cluster's section of a snapshot. Nothing of it stays in the log: the section is the whole state.
/// <code>
/// u8 has a cluster id (0 or 1) | 16 bytes, if so
/// varint nodes | for each, by number: varint number | text name | 16 bytes store id
/// varint live subscriptions | for each, by name: text name | varint filters | text filter, for each
/// varint retired disks | 16 bytes store id, for each, in rising order        (not in format 1)
/// </code>
/// No cluster id and no node, subscription "s" with filter "a":
/// <code>
/// 00 | 00 | 01 | 01 73 | 01 | 01 61 | 00
/// </code>
/// </summary>
public sealed partial class ClusterModule
{
    private const byte WithoutRetiredStores = 1;
    private const byte WithRetiredStores = 2;
    private const int LeastNodeBytes = 1 + 2 + CommandSequence.GuidBytes;
    private const int LeastSubscriptionBytes = 2 + 1 + 2;

    internal override void Write(ref SnapshotWriter writer)
    {
        var state = Current;
        writer.PutByte(state.ClusterId is null ? (byte)0 : (byte)1);
        if (state.ClusterId is { } id)
        {
            writer.PutGuid(id);
        }

        writer.PutVarint(state.Nodes.Count);
        foreach (var node in state.Nodes.Values)
        {
            writer.PutVarint(node.Id.Value);
            writer.PutText(node.Name);
            writer.PutGuid(node.StoreId);
        }

        writer.PutVarint(state.LiveSubscriptions.Count);
        foreach (var subscription in state.LiveSubscriptions.Values)
        {
            writer.PutText(subscription.Name);
            writer.PutVarint(subscription.Filters.Length);
            foreach (var filter in subscription.Filters)
            {
                writer.PutText(filter);
            }
        }

        writer.PutVarint(state.RetiredStores.Count);
        foreach (var store in state.RetiredStores)
        {
            writer.PutGuid(store);
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(
            format is WithRetiredStores or WithoutRetiredStores, "the cluster's section has a format that is known");
        var hasId = reader.TakeByte();
        reader.Check(hasId <= 1, "there is one cluster id or none");
        var state = new ClusterMetadata(
            hasId == 1 ? reader.TakeGuid() : null,
            ReadNodes(ref reader),
            ReadSubscriptions(ref reader),
            format == WithRetiredStores ? ReadRetiredStores(ref reader) : []);
        return () => Show(state);
    }

    private static ImmutableSortedDictionary<int, NodeRegistration> ReadNodes(ref SnapshotReader reader)
    {
        var nodes = ClusterMetadata.Empty.Nodes.ToBuilder();
        var before = 0;
        for (var left = reader.TakeCount(Limits.ClusterNodes, LeastNodeBytes); left > 0; left--)
        {
            var number = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(number > before, "nodes stand in rising order");
            before = number;
            var name = reader.TakeText(Limits.TopicNameBytes);
            nodes.Add(number, new NodeRegistration(new NodeId(number), name, reader.TakeGuid()));
        }

        return nodes.ToImmutable();
    }

    private static ImmutableSortedSet<Guid> ReadRetiredStores(ref SnapshotReader reader)
    {
        var stores = ImmutableSortedSet.CreateBuilder<Guid>();
        for (var left = reader.TakeCount(Limits.RetiredStores, CommandSequence.GuidBytes); left > 0; left--)
        {
            var store = reader.TakeGuid();
            reader.Check(stores.Count == 0 || stores.Max < store, "retired disks stand in rising order");
            stores.Add(store);
        }

        return stores.ToImmutable();
    }

    private static ImmutableSortedDictionary<string, LiveSubscription> ReadSubscriptions(ref SnapshotReader reader)
    {
        var subscriptions = ClusterMetadata.Empty.LiveSubscriptions.ToBuilder();
        var before = "";
        for (var left = reader.TakeCount(Limits.LiveSubscriptions, LeastSubscriptionBytes); left > 0; left--)
        {
            var name = reader.TakeText(Limits.TopicNameBytes);
            reader.Check(string.CompareOrdinal(before, name) < 0, "live subscriptions stand in rising order");
            before = name;
            var filters = new string[reader.TakeCount(Limits.FiltersPerLiveSubscription, 2)];
            reader.Check(filters.Length > 0, "a live subscription has filters");
            for (var i = 0; i < filters.Length; i++)
            {
                filters[i] = reader.TakeText(Limits.TopicNameBytes);
                reader.Check(TopicFilter.TryParse(filters[i], out _, out _), "a filter is one");
            }

            subscriptions.Add(name, new LiveSubscription(name, [.. filters]));
        }

        return subscriptions.ToImmutable();
    }
}
