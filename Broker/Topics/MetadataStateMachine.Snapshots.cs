using System.Buffers;
using System.Collections.Immutable;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// The metadata group's snapshot, written with <see cref="SnapshotWriter"/>. Nothing of it stays in the log: the
/// snapshot is the whole state.
/// <code>
/// 'M' | u8 format 2 | varint last applied index | u64 state hash | u8 has a cluster id (0 or 1) | 16 bytes, if so
/// varint nodes | for each, by number: varint number | text name | 16 bytes store id
/// varint live subscriptions | for each, by name: text name | varint filters | text filter, for each
/// varint retired disks | 16 bytes store id, for each, in rising order        (not in format 1)
/// </code>
/// After 5 entries, a hash of 1, no cluster id and no node, subscription "s" with filter "a":
/// <code>
/// 4D 02 | 05 | 01 00 00 00 00 00 00 00 | 00 | 00 | 01 | 01 73 | 01 | 01 61 | 00
/// </code>
/// </summary>
public sealed partial class MetadataStateMachine
{
    private const byte SnapshotKind = (byte)'M';
    private const byte SnapshotFormat = 2;
    private const byte FormatWithoutRetiredStores = 1;
    private const int LeastNodeBytes = 1 + 2 + CommandCodec.GuidBytes;
    private const int LeastSubscriptionBytes = 2 + 1 + 2;

    public bool KeepsIndexes => false;

    /// <summary>Times mean nothing to this machine, so that none may be too early.</summary>
    public long LastTimestampUnixMs => 0;

    /// <summary>Nothing is ever read from this group's log again.</summary>
    public LogIndex FirstNeeded => new(long.MaxValue);

    public void WriteSnapshot(IBufferWriter<byte> into)
    {
        var state = _current;
        var writer = new SnapshotWriter(into);
        writer.PutByte(SnapshotKind);
        writer.PutByte(SnapshotFormat);
        writer.PutVarint(_lastApplied.Value);
        writer.PutUInt64(_hash.Value);
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

        writer.Finish();
    }

    /// <summary>As the interface says; then calls the constructor's <c>changed</c>.</summary>
    public void Restore(ReadOnlySpan<byte> snapshot)
    {
        var state = ClusterMetadata.Empty;
        var lastApplied = LogIndex.None;
        var hash = 0UL;
        if (!snapshot.IsEmpty)
        {
            var reader = new SnapshotReader(snapshot);
            reader.Check(reader.TakeByte() == SnapshotKind, "it is one of the cluster's metadata");
            var format = reader.TakeByte();
            reader.Check(
                format is SnapshotFormat or FormatWithoutRetiredStores, "its format is one that this version knows");
            lastApplied = new LogIndex(reader.TakeVarint(long.MaxValue));
            hash = reader.TakeUInt64();
            var hasId = reader.TakeByte();
            reader.Check(hasId <= 1, "there is one cluster id or none");
            state = new ClusterMetadata(
                hasId == 1 ? reader.TakeGuid() : null,
                ReadNodes(ref reader),
                ReadSubscriptions(ref reader),
                format == SnapshotFormat ? ReadRetiredStores(ref reader) : []);
            reader.CheckEnd();
        }

        _lastApplied = lastApplied;
        _hash = new StateHasher(hash);
        Volatile.Write(ref _current, state);
        changed?.Invoke(state);
    }

    public IStateMachine MakeShadow() => new MetadataStateMachine(static _ => { });

    public bool TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body) => false;

    public void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory) =>
        throw new InvalidDataException("The cluster's metadata keeps no index of its log.");

    /// <summary>There are none.</summary>
    public void DropIndexes(LogIndex through)
    {
        // Nothing in the log is looked up after it was applied.
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
        for (var left = reader.TakeCount(Limits.RetiredStores, CommandCodec.GuidBytes); left > 0; left--)
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
