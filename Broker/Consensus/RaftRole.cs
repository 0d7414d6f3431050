namespace Broker.Consensus;

/// <summary>What a replica is at the moment (Raft thesis, figure 3.3; PreCandidate: 9.6).</summary>
public enum RaftRole
{
    Follower = 0,

    /// <summary>Asks whether it could win an election, without raising its term.</summary>
    PreCandidate,
    Candidate,
    Leader,
}
