using Broker.Domain;

namespace Broker.Storage;

/// <summary>Who a disk belongs to.</summary>
/// <param name="StoreId">Drawn at the disk's first start; a wiped disk gets another one, so that peers notice.</param>
/// <param name="NodeId">The node's number in the cluster.</param>
/// <param name="NodeName">The node's name, as its operator configures it.</param>
/// <param name="ClusterId">The cluster that the disk is a part of; null until it has joined one.</param>
/// <param name="DataShards">Raft groups for topics: another number would look for topics where they are not.</param>
public readonly record struct StoreIdentity(
    Guid StoreId, NodeId NodeId, string NodeName, Guid? ClusterId, int DataShards);
