namespace Broker.Client;

/// <summary>A shard (a Raft group), as the answering node sees it.</summary>
/// <param name="Shard">Its number: 0 holds the cluster's metadata, those of topics follow.</param>
/// <param name="Leader">The leading node's number. 0: no leader known.</param>
/// <param name="Term">The current term.</param>
/// <param name="CommitIndex">The last log entry known to be on a majority's disks.</param>
/// <param name="AppliedIndex">The last log entry that this node has applied.</param>
/// <param name="LastIndex">The last log entry that this node holds.</param>
/// <param name="Role">The answering node's role: Follower, PreCandidate, Candidate, Leader or Learner.</param>
public sealed record ShardInfo(
    int Shard, int Leader, long Term, long CommitIndex, long AppliedIndex, long LastIndex, string Role)
{
    /// <summary>Numbers of the nodes whose majority decides, by the answering node's log.</summary>
    public IReadOnlyList<int> Voters { get; init; } = [];

    /// <summary>
    /// Numbers of the nodes that receive the log and do not count: not yet, or because others are to vote.
    /// </summary>
    public IReadOnlyList<int> Learners { get; init; } = [];

    /// <summary>The node that it is to be led by. 0: whoever.</summary>
    public int PreferredLeader { get; init; }

    /// <summary>
    /// Numbers of the nodes that are to vote in it, which the voters follow one at a time. Empty: all data nodes.
    /// </summary>
    public IReadOnlyList<int> PlacedVoters { get; init; } = [];

    /// <summary>Segments of the log whose records the answering node does not keep, or has not fetched yet.</summary>
    public int SegmentsElsewhere { get; init; }
}
