using Broker.Domain;

namespace Broker.Consensus;

/// <summary>The settings of one replica of one group. All replicas of a group should agree on the times.</summary>
public sealed record RaftOptions
{
    /// <summary>This replica's node. It need not be one of Voters: it may be made a member later.</summary>
    public required NodeId Id { get; init; }

    /// <summary>
    /// The voters that the group begins with, whose majority decides: an odd number serves best. It holds until the
    /// disk knows a configuration; all replicas of a new group must agree on it.
    /// </summary>
    public required IReadOnlyList<NodeId> Voters { get; init; }

    /// <summary>
    /// How often a leader says that it lives. Default 100 ms. Shorter recovers lost messages sooner, and costs idle
    /// groups more.
    /// </summary>
    public TimeSpan HeartbeatInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// The shortest silence of a leader after which a follower asks for an election; also how long it protects a leader
    /// that it hears from. Default 500 ms. Shorter fails over sooner, and lets a pause of the leader's process cost it
    /// the leadership.
    /// </summary>
    public TimeSpan ElectionTimeoutMin { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// The longest such silence; each follower draws its own between the two. Default 1,000 ms. A wide range makes
    /// split votes rare. A leader that reaches no majority for so long steps down.
    /// </summary>
    public TimeSpan ElectionTimeoutMax { get; init; } = TimeSpan.FromMilliseconds(1000);

    /// <summary>
    /// How long after its start a replica whose last write looks torn waits for one that has that write whole: until
    /// then it does not campaign and votes for nobody who lacks it. Default 5 s, in which the peers of a cluster that
    /// was killed as a whole have mostly started, too. Longer helps where they start later, and lets a cluster whose
    /// power failed in the middle of a write wait as long.
    /// </summary>
    public TimeSpan DoubtTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// A follower whose connection to the leader breaks asks for pre-votes after a random part of this. Default 50 ms.
    /// Shorter fails over sooner after a crash, and makes split votes likelier.
    /// </summary>
    public TimeSpan BrokenConnectionDelayMax { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// Bytes of entries on their way to one follower, not yet acknowledged. Default 4 MiB; one message may exceed it.
    /// </summary>
    public int MaxInFlightBytes { get; init; } = Limits.InFlightBytesPerFollower;

    /// <summary>Bytes of entries in one AppendEntries. Default 1 MiB; a single larger entry is sent alone.</summary>
    public int MaxAppendBytes { get; init; } = Limits.AppendMessageBytes;

    /// <summary>
    /// Bytes of proposals that wait for their commit; beyond it proposals are refused, and the leader stays. Default 32
    /// MiB. One proposal is always let in, whatever its size.
    /// </summary>
    public long MaxUncommittedBytes { get; init; } = Limits.UncommittedBytesPerGroup;

    /// <summary>
    /// How long a snapshot may be on its way to a follower before it is sent again. Default 5 minutes: the largest one
    /// at the rate of a transfer. A failed transfer is known sooner.
    /// </summary>
    public TimeSpan SnapshotTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Reads that wait for the confirmation of their leader; beyond it they are refused.</summary>
    public int MaxPendingReads { get; init; } = Limits.PendingReadsPerGroup;

    /// <summary>
    /// How long the news that the last entry has committed may wait for a next entry to carry it, to a follower where
    /// nobody waits for it (<see cref="RaftNode.AwaitsCommits"/>). Default zero: it leaves at once. Longer saves two
    /// messages of six where one entry follows another, and lets a follower be so much further behind; a heartbeat
    /// tells it, too.
    /// </summary>
    public TimeSpan CommitNoticeDelay { get; init; } = TimeSpan.Zero;

    /// <summary>
    /// Who should lead first: this node campaigns at once while the group has never had a term. Default none: whoever
    /// times out first. Spreads the leaders of a new cluster's groups; it has no effect later.
    /// </summary>
    public NodeId PreferredLeader { get; init; } = NodeId.None;

    internal void Validate()
    {
        Require(!Id.IsNone, "Id must not be node 0");
        Require(
            Voters.Count <= GroupConfiguration.MaxMembers,
            $"Voters must name at most {GroupConfiguration.MaxMembers} nodes");
        Require(Voters.Distinct().Count() == Voters.Count, "Voters must name each node once");
        Require(Voters.All(voter => !voter.IsNone), "Voters must not name node 0");
        Require(HeartbeatInterval >= TimeSpan.FromMilliseconds(1), "HeartbeatInterval must be 1 ms or more");
        Require(ElectionTimeoutMin >= 2 * HeartbeatInterval, "ElectionTimeoutMin must be two heartbeats or more");
        Require(ElectionTimeoutMax > ElectionTimeoutMin, "ElectionTimeoutMax must exceed ElectionTimeoutMin");
        Require(BrokenConnectionDelayMax.TotalMilliseconds >= 1, "BrokenConnectionDelayMax must be 1 ms or more");
        Require(
            CommitNoticeDelay >= TimeSpan.Zero && CommitNoticeDelay < HeartbeatInterval,
            "CommitNoticeDelay must not be negative, and shorter than HeartbeatInterval");
        Require(SnapshotTimeout > ElectionTimeoutMax, "SnapshotTimeout must exceed ElectionTimeoutMax");
        Require(MaxPendingReads > 0, "MaxPendingReads must be positive");
        Require(MaxInFlightBytes > 0 && MaxAppendBytes > 0 && MaxUncommittedBytes > 0, "Byte limits must be positive");
    }

    private static void Require(bool holds, string rule)
    {
        if (!holds)
        {
            throw new ArgumentException($"Raft options: {rule}.");
        }
    }
}
