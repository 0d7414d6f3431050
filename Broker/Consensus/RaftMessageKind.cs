namespace Broker.Consensus;

/// <summary>The kinds of <see cref="RaftMessage"/>. The numbers are on the wire: never reuse one.</summary>
public enum RaftMessageKind : byte
{
    AppendEntries = 1,
    AppendEntriesResponse = 2,
    RequestVote = 3,
    RequestVoteResponse = 4,
    RequestPreVote = 5,
    RequestPreVoteResponse = 6,
    Heartbeat = 7,
    HeartbeatResponse = 8,

    /// <summary>Tells the follower that takes over leadership to campaign at once (Raft thesis 3.10).</summary>
    TimeoutNow = 9,

    /// <summary>
    /// The snapshot at the leader's base, for a follower whose log does not reach it (Raft thesis 5.1). Answered by
    /// AppendEntriesResponse.
    /// </summary>
    InstallSnapshot = 10,

    /// <summary>
    /// A follower asks for the snapshot at the leader's base although its log reaches it: it cannot read what it is to
    /// apply next. Answered by InstallSnapshot, or not at all.
    /// </summary>
    RequestSnapshot = 11,

    /// <summary>
    /// An operator has the group go on from the sender alone: the receiver shall give up its vote first. Answered by
    /// RecoveryResponse.
    /// </summary>
    RequestRecovery = 12,

    RecoveryResponse = 13,
}
