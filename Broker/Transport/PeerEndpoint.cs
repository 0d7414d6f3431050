using Broker.Domain;

namespace Broker.Transport;

/// <summary>A node as its peers reach it. Addresses are learned anew at every start and never persisted.</summary>
/// <param name="Node">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="Address">Its endpoint for peers: all that nodes say to each other goes there.</param>
public sealed record PeerEndpoint(NodeId Node, string Name, Uri Address)
{
    /// <summary>Where clients reach it; null: not known yet.</summary>
    public Uri? ClientAddress { get; init; }

    /// <summary>The same as it is told; empty: not known yet.</summary>
    public string ClientAddressText => ClientAddress?.ToString().TrimEnd('/') ?? "";
}
