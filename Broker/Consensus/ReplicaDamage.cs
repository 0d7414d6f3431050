using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What this replica knows of a loss of its own disk. Raft assumes that a disk loses nothing that was acknowledged
/// (thesis 3.8); so a replica whose disk has gives no vote that could bring a leader to power that lacks it too.
/// <para>Fenced: the log lost its end, the vote is known. It votes for those whose log reaches the fence, appends and
/// acknowledges, and is a replica as any other once its log reaches the fence again. A fence may be a bound far above
/// what there ever was (the file is gone that knew); so it falls, too, when the log holds all that a leader had when it
/// heard of this fence: whatever this replica had acknowledged and was committed is among that (Leader Completeness,
/// Raft thesis 3.6.3).</para>
/// <para>A candidate that led the last term in which this replica can have acknowledged anything, and has lost nothing,
/// needs no longer log than it has: what committed in that term committed on its disk first, and what committed before
/// was in its log when it was elected. So of many replicas that lost an end of unknown length, one that led is enough.
/// </para>
/// <para>In doubt: what looks like a write that never returned, and so was never acknowledged, may be one that damage
/// hit before anything else proved it. Nobody can tell; so for a while after its start the replica leaves the lead to
/// those that have that write, and then goes on as any other: a write that nobody has must not hold the group
/// up.</para>
/// <para>Lost: log or vote are gone altogether. It takes part in nothing until a leader that has heard of the loss has
/// made it a learner anew. Then it is passive: it appends and acknowledges, and gives no vote until it holds that
/// configuration and knows it to be committed. By then it holds all that it had acknowledged and that was committed:
/// the leader had it before it appended that configuration; and a leader that lacks it, because a newer one was
/// elected, could not have committed the change, as the majorities of the two overlap without the replica that was
/// lost.</para>
/// </summary>
internal sealed class ReplicaDamage
{
    /// <summary>Losses and fences are numbered from here on, so that none is taken for a round of reads.</summary>
    public const long FirstNumber = 1L << 62;

    private readonly long _doubtEndsMs;

    /// <summary>This replica's fence, drawn anew at each start, so that no answer to an older one is taken for
    /// its.</summary>
    private readonly long _fenceNumber;

    /// <summary>None: it knows what it had.</summary>
    private LogPosition _doubt;

    /// <summary>What a leader had when it heard of this fence; none while no answer has come.</summary>
    private LogIndex _fenceEnd;

    /// <summary>Every other answer tells of the fence, so that reads are confirmed meanwhile.</summary>
    private bool _tellsFence;

    public ReplicaDamage(RaftInitialState initial, Random random, long doubtEndsMs)
    {
        Fence = initial.Fence;
        _doubt = initial.Doubt;
        _doubtEndsMs = doubtEndsMs;
        PassiveUntil = initial.HardState.PassiveUntil;
        if (IsLost)
        {
            Invariant.Check(initial.LastIndex == LogIndex.None, "a replica that has lost its log begins without one");
            LossNumber = random.NextInt64(FirstNumber, long.MaxValue);
        }

        if (IsFenced)
        {
            _fenceNumber = random.NextInt64(FirstNumber, long.MaxValue);
        }
    }

    /// <summary>The last position that the log may have had; none when it has it again, or has lost nothing.</summary>
    public LogPosition Fence { get; private set; }

    /// <summary>The disk does not know yet that the fence fell.</summary>
    public bool FenceChanged { get; private set; }

    /// <summary>See <see cref="HardState.PassiveUntil"/>.</summary>
    public LogIndex PassiveUntil { get; private set; }

    /// <summary>Drawn anew at each start: until it is passive, there is nothing to remember.</summary>
    public long LossNumber { get; }

    public bool IsFenced => Fence != LogPosition.None;

    public bool IsPassive => PassiveUntil != LogIndex.None;

    public bool IsLost => PassiveUntil == HardState.Lost.PassiveUntil;

    /// <summary>There is nobody else to have it when this replica is the only voter.</summary>
    public bool IsInDoubt(bool isOnlyVoter, long nowMs) =>
        _doubt != LogPosition.None && nowMs < _doubtEndsMs && !isOnlyVoter;

    /// <summary>What a candidate's log must reach.</summary>
    public LogPosition LeastLog(bool isInDoubt) => isInDoubt && _doubt > Fence ? _doubt : Fence;

    /// <summary>Whether a candidate has all that this replica may have helped to commit and has lost.</summary>
    public bool IsCoveredBy(in RaftMessage request, bool isInDoubt) =>
        new LogPosition(request.LogIndex, request.LogTerm) >= LeastLog(isInDoubt)
        || (request.Led && !isInDoubt && request.LogTerm >= Fence.Term);

    /// <summary>
    /// By an operator's word the group goes on from another replica, by a configuration at this index: until that is
    /// here, this one gives no vote. What is lost stays lost.
    /// </summary>
    public void GiveUpVote(LogIndex until) => PassiveUntil = IsLost ? PassiveUntil : until;

    /// <summary>The group went on without what this replica has: at its next start it has lost it.</summary>
    public void GiveUpLog() => PassiveUntil = HardState.Lost.PassiveUntil;

    /// <summary>By an operator's word the group goes on from this replica: what it lost is lost.</summary>
    public void GiveUpFence()
    {
        FenceChanged |= IsFenced;
        Fence = _doubt = LogPosition.None;
    }

    /// <summary>The log equals a leader's up to a position, and that is flushed: fence and doubt may fall.</summary>
    public void Reach(LogPosition match)
    {
        if (match >= _doubt)
        {
            _doubt = LogPosition.None;
        }

        var isPastLeadersEnd = _fenceEnd > LogIndex.None && match.Index >= _fenceEnd;
        if (IsFenced && (isPastLeadersEnd || match >= Fence))
        {
            Fence = LogPosition.None;
            FenceChanged = true;
        }
    }

    /// <summary>Whether there is a fence or a doubt that could fall.</summary>
    public bool AwaitsLog => IsFenced || _doubt != LogPosition.None;

    /// <summary>
    /// What the answer to a heartbeat carries as its context. The answer to the heartbeat that names this fence carries
    /// nothing: then the leader knows that it has been heard.
    /// </summary>
    public long TakeFenceAnswer(in RaftMessage heartbeat)
    {
        if (!IsFenced)
        {
            return heartbeat.Context;
        }

        if (heartbeat.Context == _fenceNumber)
        {
            _fenceEnd = heartbeat.LearnerSince;
            return 0;
        }

        _tellsFence = !_tellsFence;
        return _fenceEnd == LogIndex.None && _tellsFence ? _fenceNumber : heartbeat.Context;
    }

    /// <summary>What a Ready tells the disk: none that the fence fell, null nothing.</summary>
    public LogPosition? TakeFenceChange()
    {
        LogPosition? change = FenceChanged ? Fence : null;
        FenceChanged = false;
        return change;
    }

    /// <summary>
    /// A leader has made this replica a learner anew. Only the number of this very loss shows that it heard of it
    /// before. True: the hard state changed.
    /// </summary>
    public bool TryBecomePassive(in RaftMessage heartbeat)
    {
        if (IsLost && heartbeat.LearnerSince > LogIndex.None && heartbeat.Context == LossNumber)
        {
            PassiveUntil = heartbeat.LearnerSince;
            return true;
        }

        return false;
    }

    /// <summary>
    /// The configuration that it waited for has committed here. True: the hard state changed.
    /// </summary>
    public bool TryEndPassivity(LogIndex commitIndex, GroupConfiguration configuration, Term term = default)
    {
        if (IsPassive && commitIndex >= PassiveUntil)
        {
            // After a recovery that came to nothing the members are those of before.
            Invariant.Check(
                configuration.Index >= PassiveUntil || term.Recovery > 0, "the log holds what it waited for");
            PassiveUntil = LogIndex.None;
            return true;
        }

        return false;
    }
}
