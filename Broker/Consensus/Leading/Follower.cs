using Broker.Domain;

namespace Broker.Consensus;

/// <summary>How a leader sends to a follower.</summary>
internal enum FollowerState
{
    /// <summary>One AppendEntries is under way at a time, and finds where the logs agree.</summary>
    Probing,

    /// <summary>Entries are sent without waiting (Raft thesis 10.2.1), up to a window of bytes.</summary>
    Replicating,

    /// <summary>A snapshot is on its way; nothing else is sent but heartbeats.</summary>
    Installing,
}

/// <summary>
/// A leader's knowledge of one follower's log: how far it is, what is on its way to it, and how to go on after each
/// answer. What the follower said of its own disk is in Follower.Damage.cs.
/// <para>A follower is probed at first. It goes from Probing to Replicating when it says that the logs agree, to
/// Installing when its log ends before the leader's base; from Replicating back to Probing when it rejects entries or
/// its connection breaks; from Installing to Probing when the snapshot has arrived or is given up.</para>
/// </summary>
internal sealed partial class Follower(NodeId id, bool isVoter, LogIndex nextIndex, long nowMs)
{
    private readonly Queue<(LogIndex Last, int SizeBytes)> _inFlight = new();

    private long _snapshotDeadlineMs;

    public NodeId Id { get; } = id;

    /// <summary>Whether it counts, by the configuration in force.</summary>
    public bool IsVoter { get; set; } = isVoter;

    public FollowerState State { get; private set; }

    public LogIndex MatchIndex { get; private set; }

    /// <summary>Always above MatchIndex.</summary>
    public LogIndex NextIndex { get; private set; } = nextIndex;

    /// <summary>
    /// While probing: nothing more is sent until an answer or a heartbeat's answer, as a probe is under way or may be
    /// lost. Always while a snapshot is on its way, never while entries flow.
    /// </summary>
    public bool ProbeSent { get; private set; }

    /// <summary>The position of the snapshot that is on its way; none: no snapshot is.</summary>
    public LogIndex SnapshotIndex { get; private set; }

    public bool IsReplicating => State == FollowerState.Replicating;

    public bool IsInstalling => State == FollowerState.Installing;

    public long InFlightBytes { get; private set; }

    public long LastContactMs { get; set; } = nowMs;

    /// <summary>The latest round of reads that it confirmed.</summary>
    public long ConfirmedRound { get; set; }

    /// <summary>The highest commit index that an AppendEntries has carried.</summary>
    public LogIndex SentCommitIndex { get; private set; }

    /// <summary>It said that somebody waits there for what commits next: it is told at once.</summary>
    public bool AwaitsCommits { get; set; }

    /// <summary>
    /// When it is told that the last entry has committed, unless a next one has carried that until then; long.MaxValue
    /// while there is nothing to tell.
    /// </summary>
    public long CommitNoticeDueMs { get; private set; } = long.MaxValue;

    /// <summary>When entries go to it again; long.MaxValue while they flow.</summary>
    public long HeldUntilMs { get; private set; } = long.MaxValue;

    /// <summary>Nothing but heartbeats goes to it until then, unless it becomes a voter.</summary>
    public void HoldBack(long untilMs) => HeldUntilMs = untilMs;

    /// <summary>Whether it waits still.</summary>
    public bool IsHeldBack(long nowMs)
    {
        if (HeldUntilMs == long.MaxValue)
        {
            return false;
        }

        if (!IsVoter && nowMs < HeldUntilMs)
        {
            return true;
        }

        HeldUntilMs = long.MaxValue;
        return false;
    }

    /// <summary>An AppendEntries has left, with or without entries.</summary>
    public void SentCommit(LogIndex commit)
    {
        SentCommitIndex = commit;
        CommitNoticeDueMs = long.MaxValue;
    }

    /// <summary>
    /// The last entry has committed. True: the follower is told now, as somebody waits there, or as this was said long
    /// enough ago and nothing followed.
    /// </summary>
    public bool IsCommitNoticeDue(long nowMs, long delayMs)
    {
        if (CommitNoticeDueMs == long.MaxValue)
        {
            CommitNoticeDueMs = nowMs + delayMs;
        }

        return AwaitsCommits || nowMs >= CommitNoticeDueMs;
    }

    /// <summary>Entries, or whatever else it is sent next, will tell it.</summary>
    public void ForgetCommitNotice() => CommitNoticeDueMs = long.MaxValue;

    public void Sent(LogIndex last, int sizeBytes)
    {
        if (!IsReplicating)
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
            State = FollowerState.Probing;
            SnapshotIndex = LogIndex.None;
            ProbeSent = false;
        }

        return true;
    }

    /// <summary>
    /// The follower's log agrees with the leader's up to an index, flushed or not. True: that answers the probe, and
    /// entries flow from there on without waiting.
    /// </summary>
    public bool TryReplicate(LogIndex agreed, RaftLog log)
    {
        if (State != FollowerState.Probing || agreed < LogIndex.Max(NextIndex.Previous(), log.BaseIndex))
        {
            return false;
        }

        ClearInFlight();
        State = FollowerState.Replicating;
        ProbeSent = false;
        NextIndex = LogIndex.Max(MatchIndex, LogIndex.Min(agreed, log.LastIndex)).Next();
        return true;
    }

    /// <summary>
    /// The entry before those that were sent is not in the follower's log. Its answer names the last entry that may
    /// agree, so each round skips a whole term (Raft paper 5.3, end). True: there is something to ask now.
    /// </summary>
    public bool TryBackUp(LogIndex rejected, LogPosition mayAgree, RaftLog log)
    {
        if (IsInstalling)
        {
            // Told before the snapshot left.
            return false;
        }

        if (rejected <= MatchIndex)
        {
            // It acknowledged that entry: the answer is old, or the follower has lost the end of its log since, which
            // it need not have noticed. To ask again tells the two apart and costs a round trip; to take a loss for an
            // old answer would leave the follower behind for ever.
            ForgetMatch(mayAgree.Index.Next());
            return true;
        }

        if (IsReplicating)
        {
            ProbeAgain(log.BaseIndex);
            return true;
        }

        if (NextIndex.Previous() != rejected)
        {
            return false;
        }

        var agreement = log.LastPossibleAgreement(mayAgree.Index, mayAgree.Term);
        BecomeProbing(LogIndex.Min(rejected, agreement.Next()));
        return true;
    }

    /// <summary>
    /// Something may be lost: find again where the logs agree. Asks first for the entry at the base, if it may be
    /// there: a snapshot is the dearer way to find out.
    /// </summary>
    public void ProbeAgain(LogIndex baseIndex)
    {
        var next = IsReplicating ? MatchIndex.Next() : NextIndex;
        BecomeProbing(LogIndex.Max(next, baseIndex.Next()));
    }

    /// <summary>The connection broke: it is probed again after its next answer.</summary>
    public void Pause(LogIndex baseIndex)
    {
        ProbeAgain(baseIndex);
        ProbeSent = true;
    }

    /// <summary>
    /// The leader's log begins after an index from now on. True: the follower was to be sent what is gone.
    /// </summary>
    public bool TrySkipTo(LogIndex baseIndex)
    {
        if (IsInstalling || NextIndex > baseIndex)
        {
            return false;
        }

        var probeSent = ProbeSent;
        BecomeProbing(baseIndex.Next());
        ProbeSent = probeSent;
        return true;
    }

    /// <summary>Its log is behind the leader's base: it is sent the snapshot at the base.</summary>
    public void BecomeInstalling(LogIndex snapshotIndex, long deadlineMs)
    {
        BecomeProbing(NextIndex);
        State = FollowerState.Installing;
        ProbeSent = true;
        SnapshotIndex = snapshotIndex;
        _snapshotDeadlineMs = deadlineMs;
    }

    /// <summary>The snapshot has left; it may take so long to be written and acknowledged.</summary>
    public void AwaitSnapshot(long deadlineMs) => _snapshotDeadlineMs = deadlineMs;

    public bool IsSnapshotLate(long nowMs) => IsInstalling && nowMs >= _snapshotDeadlineMs;

    /// <summary>
    /// The follower is asked for the entry at the base first: the snapshot may have arrived, and its answer be lost.
    /// </summary>
    public void GiveUpSnapshot(LogIndex baseIndex)
    {
        BecomeProbing(baseIndex.Next());
        ProbeSent = true;
    }

    /// <summary>
    /// What it acknowledged is gone, and must not count for commits to come. Those that it helped to bring about stand:
    /// its vote is bound by what it acknowledged.
    /// </summary>
    private void ForgetMatch(LogIndex nextIndex)
    {
        MatchIndex = LogIndex.None;
        BecomeProbing(nextIndex);
    }

    private void BecomeProbing(LogIndex nextIndex)
    {
        ClearInFlight();
        State = FollowerState.Probing;
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
