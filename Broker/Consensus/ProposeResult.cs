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
}
