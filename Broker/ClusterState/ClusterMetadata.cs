using System.Collections.Immutable;
using Broker.Domain;

namespace Broker.ClusterState;

/// <summary>
/// The metadata group's state after some applied entry. Immutable: a reader on any thread keeps a whole picture.
/// </summary>
/// <param name="ClusterId">Null until the cluster's first leader has given it one.</param>
/// <param name="Nodes">The nodes by number, each with the disk that it has.</param>
/// <param name="LiveSubscriptions">By name.</param>
/// <param name="RetiredStores">The disks that others have replaced: they must never take part again.</param>
public sealed record ClusterMetadata(
    Guid? ClusterId,
    ImmutableSortedDictionary<int, NodeRegistration> Nodes,
    ImmutableSortedDictionary<string, LiveSubscription> LiveSubscriptions,
    ImmutableSortedSet<Guid> RetiredStores)
{
    public static readonly ClusterMetadata Empty = new(
        null,
        ImmutableSortedDictionary<int, NodeRegistration>.Empty,
        ImmutableSortedDictionary.Create<string, LiveSubscription>(StringComparer.Ordinal),
        []);

    /// <summary>The registered node of that number, or null.</summary>
    public NodeRegistration? FindNode(NodeId id) => Nodes.GetValueOrDefault(id.Value);
}
