using Broker.Domain;

namespace Broker.Consensus;

/// <summary>How far a follower is, as its leader knows it: for diagnostics, for choosing whom to hand leadership, and
/// for changes of membership.</summary>
/// <param name="NodeId">The follower.</param>
/// <param name="MatchIndex">Its log is durable and equal to the leader's up to here.</param>
/// <param name="NextIndex">The next entry that it is sent.</param>
/// <param name="RecentlyActive">It answered within the shortest election timeout.</param>
/// <param name="IsLearner">It receives the log and does not count.</param>
/// <param name="IsLost">It reported the loss of its log, and takes part again only after a change that makes it a
/// learner anew: a voter is removed and then added, a learner is added again.</param>
/// <param name="IsCaughtUp">It answers, and holds all that had committed when the last heartbeat left.</param>
/// <param name="IsHampered">It said that it cannot write or apply at the moment.</param>
/// <param name="IsHollow">A learner that does not keep all that the entries say, or has not said yet that it does: it
/// is not made a voter.</param>
public readonly record struct FollowerProgress(
    NodeId NodeId, LogIndex MatchIndex, LogIndex NextIndex, bool RecentlyActive, bool IsLearner, bool IsLost,
    bool IsCaughtUp, bool IsHampered, bool IsHollow = false);
