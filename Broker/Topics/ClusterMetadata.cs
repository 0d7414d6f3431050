using System.Collections.Immutable;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// The metadata group's state after some applied entry. Immutable: a reader on any thread keeps a whole picture.
/// </summary>
public sealed record ClusterMetadata(
    Guid? ClusterId,
    ImmutableSortedDictionary<int, NodeRegistration> Nodes,
    ImmutableSortedDictionary<string, LiveSubscription> LiveSubscriptions)
{
    public static readonly ClusterMetadata Empty = new(
        null,
        ImmutableSortedDictionary<int, NodeRegistration>.Empty,
        ImmutableSortedDictionary.Create<string, LiveSubscription>(StringComparer.Ordinal));

    /// <summary>The registered node of that number, or null.</summary>
    public NodeRegistration? FindNode(NodeId id) => Nodes.GetValueOrDefault(id.Value);
}
