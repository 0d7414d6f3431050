using System.Collections.Concurrent;
using Broker.Domain;

namespace Broker.Cluster;

/// <summary>The nodes that this process has met, for the metadata group's leader to register.</summary>
internal sealed class PeerRegister
{
    private readonly ConcurrentDictionary<NodeId, (string Name, Guid StoreId)> _met = new();

    public IReadOnlyCollection<KeyValuePair<NodeId, (string Name, Guid StoreId)>> Met => _met.ToArray();

    public void Seen(NodeId node, string name, Guid storeId) => _met[node] = (name, storeId);
}
