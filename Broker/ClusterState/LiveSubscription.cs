using System.Collections.Immutable;

namespace Broker.ClusterState;

/// <summary>A subscriber's wish to get matching batches live on Redis.</summary>
public sealed record LiveSubscription(string Name, ImmutableArray<string> Filters);
