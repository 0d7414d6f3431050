using Broker.Domain;

namespace Broker.Consensus;

/// <summary>One step from a group's configuration to the next (Raft thesis 4.1).</summary>
/// <param name="Kind">What becomes of the node.</param>
/// <param name="Node">Whom it is about.</param>
public readonly record struct MembershipChange(MembershipChangeKind Kind, NodeId Node);
