using Broker.Domain;

namespace Broker.Transport;

/// <summary>A node as its peers reach it. Addresses are learned anew at every start and never persisted.</summary>
public sealed record PeerEndpoint(NodeId Node, string Name, Uri Address);
