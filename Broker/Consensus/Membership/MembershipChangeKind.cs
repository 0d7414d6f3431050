namespace Broker.Consensus;

/// <summary>What a membership change does with its node.</summary>
public enum MembershipChangeKind
{
    /// <summary>
    /// A node that is no member receives the log from now on and does not count. A learner that reported the loss of
    /// its log is made one anew.
    /// </summary>
    AddLearner = 1,

    /// <summary>A learner that has caught up, and keeps what the entries say, becomes a voter.</summary>
    Promote,

    /// <summary>A voter or learner is no member any more. The leader itself may go: it leads until then.</summary>
    Remove,
}
