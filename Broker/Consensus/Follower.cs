using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// A leader's knowledge of one follower. While it probes, one AppendEntries is under way at a time and finds where the
/// logs agree; then entries are sent without waiting (Raft thesis 10.2.1), up to a window of bytes. While a snapshot is
/// on its way, nothing else is sent but heartbeats.
/// </summary>
internal sealed class Follower(NodeId id, bool isVoter, LogIndex nextIndex, long nowMs)
{
    private readonly Queue<(LogIndex Last, int SizeBytes)> _inFlight = new();

    public NodeId Id { get; } = id;

    /// <summary>Whether it counts, by the configuration in force.</summary>
    public bool IsVoter { get; set; } = isVoter;

    /// <summary>The configuration by which this leader made it a learner; none when an earlier one did.</summary>
    public LogIndex LearnerSince { get; set; }

    /// <summary>It has lost its log and has not accepted that it is a learner anew.</summary>
    public ReplicaLoss? Loss { get; set; }

    /// <summary>Names the fence that it told of last; 0 when it knows what it wanted to know.</summary>
    public long FenceNumber { get; set; }

    /// <summary>The leader's last entry when it heard of that fence.</summary>
    public LogIndex FenceEnd { get; set; }

    public LogIndex MatchIndex { get; private set; }

    /// <summary>Always above MatchIndex.</summary>
    public LogIndex NextIndex { get; private set; } = nextIndex;

    public bool IsProbing { get; private set; } = true;

    /// <summary>
    /// While probing: a probe is under way, nothing more is sent until an answer or a heartbeat's answer.
    /// </summary>
    public bool ProbeSent { get; set; }

    /// <summary>The position of the snapshot that is on its way; none: no snapshot is.</summary>
    public LogIndex SnapshotIndex { get; private set; }

    public bool IsInstalling => SnapshotIndex != LogIndex.None;

    /// <summary>The snapshot is given up at this time, unless it has arrived.</summary>
    public long SnapshotDeadlineMs { get; set; }

    public long InFlightBytes { get; private set; }

    /// <summary>It said of itself that it cannot write or apply.</summary>
    public bool IsHampered { get; set; }

    public long LastContactMs { get; set; } = nowMs;

    /// <summary>The latest round of reads that it confirmed.</summary>
    public long ConfirmedRound { get; set; }

    /// <summary>The highest commit index that an AppendEntries has carried.</summary>
    public LogIndex SentCommitIndex { get; set; }

    public void Sent(LogIndex last, int sizeBytes)
    {
        if (IsProbing)
        {
            ProbeSent = true;
            return;
        }

        Invariant.Check(last >= NextIndex, "what is sent to a follower begins at its next index");
        NextIndex = last.Next();
        _inFlight.Enqueue((last, sizeBytes));
        InFlightBytes += sizeBytes;
    }

    /// <summary>The follower acknowledged entries; false when that was known.</summary>
    public bool TryAdvance(LogIndex match)
    {
        while (_inFlight.TryPeek(out var oldest) && oldest.Last <= match)
        {
            InFlightBytes -= oldest.SizeBytes;
            _inFlight.Dequeue();
        }

        if (match <= MatchIndex)
        {
            return false;
        }

        MatchIndex = match;
        NextIndex = LogIndex.Max(NextIndex, match.Next());
        if (IsInstalling && match >= SnapshotIndex)
        {
            SnapshotIndex = LogIndex.None;
            ProbeSent = false;
        }

        return true;
    }

    /// <summary>Its log is behind the leader's base: it is sent the snapshot at the base.</summary>
    public void BecomeInstalling(LogIndex snapshotIndex, long deadlineMs)
    {
        BecomeProbing(NextIndex);
        ProbeSent = true;
        SnapshotIndex = snapshotIndex;
        SnapshotDeadlineMs = deadlineMs;
    }

    /// <summary>
    /// What it acknowledged is gone, and must not count for commits to come. Those that it helped to bring about stand:
    /// its vote is bound by what it acknowledged.
    /// </summary>
    public void ForgetMatch(LogIndex nextIndex)
    {
        MatchIndex = LogIndex.None;
        BecomeProbing(nextIndex);
    }

    /// <summary>The logs agree up to an index: entries flow from there on without waiting.</summary>
    public void BecomeReplicating(LogIndex agreed)
    {
        ClearInFlight();
        IsProbing = false;
        ProbeSent = false;
        SnapshotIndex = LogIndex.None;
        NextIndex = LogIndex.Max(MatchIndex, agreed).Next();
    }

    /// <summary>Something was lost: find again where the logs agree.</summary>
    public void BecomeProbing(LogIndex nextIndex)
    {
        ClearInFlight();
        IsProbing = true;
        ProbeSent = false;
        SnapshotIndex = LogIndex.None;
        NextIndex = LogIndex.Max(nextIndex, MatchIndex.Next());
    }

    private void ClearInFlight()
    {
        _inFlight.Clear();
        InFlightBytes = 0;
    }
}
