namespace Broker.Consensus;

/// <summary>What became of a proposal. Only Accepted gives it an index; anything else left no trace.</summary>
public enum ProposeResult
{
    Accepted = 0,

    /// <summary>This replica does not lead: send to <see cref="RaftNode.Leader"/>.</summary>
    NotLeader,

    /// <summary>Too many bytes wait for their commit: send again when some have committed.</summary>
    Overloaded,

    /// <summary>Leadership is on its way to another replica: send again in a moment, to whoever leads then.</summary>
    TransferringLeadership,

    /// <summary>A membership change that has not committed is under way: one at a time (Raft thesis 4.1).</summary>
    ChangeInProgress,

    /// <summary>
    /// No entry of this leader's term has committed, so it cannot know which configuration is the committed one: ask
    /// again in a moment.
    /// </summary>
    NotReady,

    /// <summary>
    /// The change makes no sense now: the node is a member already, or is none; it is the last voter; it is a learner
    /// that has not caught up; the group has its full number of members; or too few of the voters that would remain
    /// answer, so that the group could never commit again.
    /// </summary>
    InvalidChange,
}
