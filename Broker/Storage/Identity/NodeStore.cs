using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Who this disk belongs to, which disks its peers had when it first met them, and which groups it has. One process
/// at a time holds the folder. A change is durable when a call returns. Safe for many threads.
/// </summary>
public sealed class NodeStore : IDisposable
{
    private const string LockName = "node.lock";

    private readonly Lock _gate = new();
    private readonly NodeFiles _files;
    private readonly string _folder;
    private readonly IDisposable _folderLock;
    private NodeRecord _record;
    private Exception? _failure;

    private NodeStore(NodeFiles files, string folder, IDisposable folderLock, NodeRecord record)
    {
        _files = files;
        _folder = folder;
        _folderLock = folderLock;
        _record = record;
    }

    public StoreIdentity Identity
    {
        get
        {
            lock (_gate)
            {
                return _record.Identity;
            }
        }
    }

    public NodeId NodeId => Identity.NodeId;

    public string NodeName => Identity.NodeName;

    /// <summary>Drawn when the disk was new.</summary>
    public Guid StoreId => Identity.StoreId;

    /// <summary>The cluster that this disk is a part of; null until <see cref="SetClusterId"/>.</summary>
    public Guid? ClusterId => Identity.ClusterId;

    /// <summary>Opens the node's folder, or makes it the node's own when it is new.</summary>
    /// <param name="device">Where the folder is.</param>
    /// <param name="folder">The node's data folder.</param>
    /// <param name="nodeName">The configured name: it must be the one that the disk was made for.</param>
    /// <param name="nodeId">The configured number: likewise.</param>
    /// <param name="dataShards">The configured number of data shards: likewise.</param>
    /// <param name="newId">Draws the store id of a new disk.</param>
    /// <param name="roles">The configured roles: they must be those with which the disk began.</param>
    /// <exception cref="StorageRefusedException">The disk is another node's, or another process has it
    /// open.</exception>
    /// <exception cref="StorageCorruptException">Both the record and its copy are damaged.</exception>
    public static NodeStore Open(
        IStorageDevice device,
        string folder,
        string nodeName,
        NodeId nodeId,
        int dataShards,
        Func<Guid> newId,
        NodeRoles roles = NodeRoles.Both)
    {
        device.CreateFolder(folder);
        var folderLock = device.TryLock(Path.Combine(folder, LockName)) ?? throw new StorageRefusedException(
            $"Another process has {folder} open. Stop it, or give this node its own Broker__DataDirectory.");
        try
        {
            var files = new NodeFiles(device, folder);
            var (record, isInBoth) = files.Read();
            var found = record;
            if (record is null)
            {
                var identity = new StoreIdentity(newId(), nodeId, nodeName, ClusterId: null, dataShards);
                record = new NodeRecord(identity, new Dictionary<NodeId, Guid>(), [], Sequence: 1, [], [])
                {
                    Roles = roles,
                };
            }
            else if (record.Identity.NodeId.IsNone && !nodeId.IsNone && record.Identity.NodeName == nodeName)
            {
                // It waited to be taken in, and promised nothing to anybody.
                var identity = record.Identity with { NodeId = nodeId, DataShards = dataShards };
                record = record with { Identity = identity, Sequence = record.Sequence + 1 };
            }

            // Refused before anything changes.
            CheckOwner(folder, record.Identity, nodeName, nodeId);
            CheckShards(folder, record.Identity, dataShards);
            CheckRoles(folder, record, roles);
            if (record != found || !isInBoth)
            {
                files.Write(record);
            }
            else
            {
                // A process that was killed may have left a new name unflushed.
                device.SyncFolder(folder);
            }

            return new NodeStore(files, folder, folderLock, record);
        }
        catch
        {
            folderLock.Dispose();
            throw;
        }
    }

    /// <summary>Binds the disk to a cluster, durably and for ever.</summary>
    /// <exception cref="StorageRefusedException">The disk is bound to another cluster.</exception>
    public void SetClusterId(Guid clusterId)
    {
        Invariant.Check(clusterId != Guid.Empty, "a cluster id is not empty");
        lock (_gate)
        {
            if (_record.Identity.ClusterId == clusterId)
            {
                return;
            }

            if (_record.Identity.ClusterId is { } bound)
            {
                throw new StorageRefusedException(
                    $"The disk in {_folder} belongs to cluster {bound}, not to {clusterId}. "
                    + "Start this node with its own cluster's peers, or give it an empty Broker__DataDirectory.");
            }

            Replace(_record with { Identity = _record.Identity with { ClusterId = clusterId } });
        }
    }

    /// <summary>What a disk says of itself, without opening it for use; null when it is new.</summary>
    /// <exception cref="StorageCorruptException">Both the record and its copy are damaged.</exception>
    internal static NodeRecord? Peek(IStorageDevice device, string folder) =>
        new NodeFiles(device, folder).Read().Record;

    /// <summary>
    /// A cluster has taken this disk in, durably: under which number, and who belongs. Its groups are new: they have
    /// promised nothing. Without a cluster id the disk is bound later, by <see cref="SetClusterId"/>.
    /// </summary>
    public void Admit(
        NodeId nodeId,
        int dataShards,
        Guid? clusterId,
        IReadOnlyList<Founder> founders,
        IReadOnlyList<KnownMember> members)
    {
        lock (_gate)
        {
            Invariant.Check(_record.Identity.NodeId.IsNone || _record.Identity.NodeId == nodeId, "a number stays");
            Invariant.Check(_record.Identity.ClusterId is null, "a disk is taken in once");
            Replace(_record with
            {
                Identity = _record.Identity with
                {
                    NodeId = nodeId,
                    DataShards = dataShards,
                    ClusterId = clusterId,
                },
                Founders = [.. founders],
                Members = [.. members],
            });
        }
    }

    /// <summary>The cluster has taken this disk out, for ever.</summary>
    public void MarkRemoved()
    {
        lock (_gate)
        {
            Replace(_record with { IsRemoved = true });
        }
    }

    /// <summary>Remembers who belongs to the cluster, durably, for the next start.</summary>
    public void RememberMembers(IReadOnlyList<Founder> founders, IReadOnlyList<KnownMember> members)
    {
        lock (_gate)
        {
            if (!_record.Founders.SequenceEqual(founders) || !_record.Members.SequenceEqual(members))
            {
                Replace(_record with { Founders = [.. founders], Members = [.. members] });
            }
        }
    }

    /// <summary>
    /// Whether this disk takes part in a cluster, or may have: from the first founding or joining on. Before that it
    /// has promised nothing to anybody.
    /// </summary>
    public bool IsFounded
    {
        get
        {
            lock (_gate)
            {
                return _record.Identity.ClusterId is not null || _record.Groups.Count > 0;
            }
        }
    }

    /// <summary>
    /// The disk that a peer has, as far as this node knows; null when they have not met. A peer that shows another one
    /// has lost its log and its votes, and must not count as the replica that it was.
    /// </summary>
    public Guid? PinnedStore(NodeId peer)
    {
        lock (_gate)
        {
            return _record.PeerStores.TryGetValue(peer, out var pinned) ? pinned : null;
        }
    }

    /// <summary>Remembers which disk a peer has, durably, in place of the one before.</summary>
    public void PinPeer(NodeId peer, Guid storeId)
    {
        lock (_gate)
        {
            if (!_record.PeerStores.TryGetValue(peer, out var pinned) || pinned != storeId)
            {
                Replace(_record with
                {
                    PeerStores = new Dictionary<NodeId, Guid>(_record.PeerStores) { [peer] = storeId },
                });
            }
        }
    }

    /// <summary>
    /// This disk is one of those that a new cluster begins with, durably, together with the peers that it was founded
    /// with, and the roles of all: the groups began with them.
    /// </summary>
    public void Found(
        IEnumerable<GroupId> groups, IReadOnlyDictionary<NodeId, Guid> peers, IReadOnlyList<Founder> founders)
    {
        lock (_gate)
        {
            Replace(_record with
            {
                PeerStores = new Dictionary<NodeId, Guid>(peers),
                Founders = [.. founders],
                Groups = _record.Groups.Union(groups.Select(static group => group.Value)),
            });
        }
    }

    /// <summary>
    /// Whether the group has been on this disk before: without its files it has lost them, and is not a new group.
    /// </summary>
    public bool IsKnownGroup(GroupId group)
    {
        lock (_gate)
        {
            return _record.Groups.Contains(group.Value);
        }
    }

    /// <summary>
    /// Remembers groups whose logs are open now, durably. Done after they were opened: before that a crash would make
    /// a new group look like a lost one.
    /// </summary>
    public void AddKnownGroups(IEnumerable<GroupId> groups)
    {
        lock (_gate)
        {
            var known = _record.Groups.Union(groups.Select(static group => group.Value));
            if (known.Count != _record.Groups.Count)
            {
                Replace(_record with { Groups = known });
            }
        }
    }

    public void Dispose() => _folderLock.Dispose();

    private static void CheckOwner(string folder, StoreIdentity identity, string nodeName, NodeId nodeId)
    {
        if (identity.NodeName != nodeName || identity.NodeId != nodeId)
        {
            throw new StorageRefusedException(
                $"The disk in {folder} belongs to {identity.NodeName} (node {identity.NodeId}), "
                + $"but this node is {nodeName} (node {nodeId}). "
                + $"Start {identity.NodeName} with it, or give this node its own Broker__DataDirectory.");
        }
    }

    private static void CheckShards(string folder, StoreIdentity identity, int dataShards)
    {
        if (identity.DataShards != dataShards)
        {
            throw new StorageRefusedException(
                $"The disk in {folder} holds {identity.DataShards} data shards, but Broker:DataShards is {dataShards}. "
                + $"The number is fixed when the cluster forms: set it back to {identity.DataShards}.");
        }
    }

    private static void CheckRoles(string folder, NodeRecord record, NodeRoles roles)
    {
        if (record.Roles != roles)
        {
            throw new StorageRefusedException(
                $"The disk in {folder} is one of a node with the roles '{record.Roles.InWords()}', but Broker:Roles is "
                + $"'{roles.InWords()}'. A disk keeps its roles, as its peers count on them: set Broker__Roles back. "
                + $"For another role have {record.Identity.NodeName} begin as a new node: if it is a member, remove it "
                + "(RemoveNode); then give it an empty folder, and have it join (Broker__Join).");
        }
    }

    private void Replace(NodeRecord record)
    {
        if (_failure is not null)
        {
            throw new StorageException(
                $"The node record in {_folder} failed before. The process must exit and recover.", _failure);
        }

        record = record with { Sequence = _record.Sequence + 1 };
        try
        {
            _files.Write(record);
        }
        catch (IOException failure)
        {
            _failure = failure;
            throw new StorageException(
                $"The node record in {_folder} could not be written: {failure.Message}", failure);
        }

        _record = record;
    }
}
