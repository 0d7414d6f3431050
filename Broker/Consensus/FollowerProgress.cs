using Broker.Domain;

namespace Broker.Consensus;

/// <summary>How far a follower is, as its leader knows it: for diagnostics and for choosing whom to hand
/// leadership.</summary>
/// <param name="NodeId">The follower.</param>
/// <param name="MatchIndex">Its log is durable and equal to the leader's up to here.</param>
/// <param name="NextIndex">The next entry that it is sent.</param>
/// <param name="RecentlyActive">It answered within the shortest election timeout.</param>
public readonly record struct FollowerProgress(
    NodeId NodeId, LogIndex MatchIndex, LogIndex NextIndex, bool RecentlyActive);
