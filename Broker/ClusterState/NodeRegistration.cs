using Broker.Domain;

namespace Broker.ClusterState;

/// <summary>A node that belongs to the cluster, and the disk that it first came with.</summary>
public sealed record NodeRegistration(NodeId Id, string Name, Guid StoreId);
