using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Replicas whose disk has lost something that they may have acknowledged. Raft assumes that this cannot happen (thesis
/// 3.8); so such a replica gives no vote that could bring a leader to power that lacks it too.
/// <para>Fenced: the log lost its end, the vote is known. It votes for those whose log reaches the fence, appends and
/// acknowledges, and is a replica as any other once its log reaches the fence again. A fence may be a bound far above
/// what there ever was (the file is gone that knew); so it falls, too, when the log holds all that a leader had when it
/// heard of this fence: whatever this replica had acknowledged and was committed is among that (Leader Completeness,
/// Raft thesis 3.6.3).</para>
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
/// </content>
public sealed partial class RaftNode
{
    /// <summary>Losses are numbered from here on, so that none is taken for a round of reads.</summary>
    private const long FirstLossNumber = 1L << 62;

    private LogPosition _fence;

    /// <summary>None: it knows what it had.</summary>
    private LogPosition _doubt;

    private long _doubtEndsMs;
    private bool _fenceChanged;

    /// <summary>This replica's fence, drawn anew at each start, so that no answer to an older one is taken for
    /// its.</summary>
    private long _fenceNumber;

    /// <summary>What a leader had when it heard of this fence; none while no answer has come.</summary>
    private LogIndex _fenceEnd;

    /// <summary>Every other answer tells of the fence, so that reads are confirmed meanwhile.</summary>
    private bool _tellsFence;

    /// <summary>See <see cref="HardState.PassiveUntil"/>.</summary>
    private LogIndex _passiveUntil;

    /// <summary>
    /// This replica's loss. Drawn anew at each start: until it is passive, there is nothing to remember.
    /// </summary>
    private long _lossNumber;

    /// <summary>Its log has lost an end that it may have acknowledged, and has not caught up with it.</summary>
    public bool IsFenced => _fence != LogPosition.None;

    /// <summary>It has lost its log or its vote, and gives no votes yet.</summary>
    public bool IsPassive => _passiveUntil != LogIndex.None;

    /// <summary>There is nobody else to have it when this replica is the only voter.</summary>
    private bool IsInDoubt => _doubt != LogPosition.None && _nowMs < _doubtEndsMs && !IsOnlyVoter;

    private bool IsLost => _passiveUntil == HardState.Lost.PassiveUntil;

    private void RecoverDamage(RaftInitialState initial)
    {
        _fence = initial.Fence;
        _doubt = initial.Doubt;
        _doubtEndsMs = _nowMs + _times.DoubtMs;
        _passiveUntil = initial.HardState.PassiveUntil;
        if (IsLost)
        {
            Invariant.Check(initial.LastIndex == LogIndex.None, "a replica that has lost its log begins without one");
            _lossNumber = _random.NextInt64(FirstLossNumber, long.MaxValue);
        }

        if (IsFenced)
        {
            _fenceNumber = _random.NextInt64(FirstLossNumber, long.MaxValue);
        }
    }

    private void LiftFenceWhenReached()
    {
        if ((!IsFenced && _doubt == LogPosition.None) || MatchIndex < _log.BaseIndex)
        {
            return;
        }

        var match = new LogPosition(MatchIndex, TermAt(MatchIndex));
        if (match >= _doubt)
        {
            _doubt = LogPosition.None;
        }

        var isPastLeadersEnd = _fenceEnd > LogIndex.None && MatchIndex >= _fenceEnd;
        if (IsFenced && (isPastLeadersEnd || match >= _fence))
        {
            _fence = LogPosition.None;
            _fenceChanged = true;
        }
    }

    /// <summary>
    /// What the answer to a heartbeat carries as its context. The answer to the heartbeat that names this fence carries
    /// nothing: then the leader knows that it has been heard.
    /// </summary>
    private long TakeFenceAnswer(RaftMessage heartbeat)
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

    private void ReportLoss(RaftMessageKind kind) => Send(new RaftMessage
    {
        Kind = kind,
        From = Id,
        To = Leader,
        Term = Term,
        Reject = true,
        Lost = true,
        Context = _lossNumber,
    });

    /// <summary>
    /// Only the number of this very loss shows that the leader heard of it before it made this replica a learner.
    /// </summary>
    private void BecomePassiveWhenLearner(RaftMessage heartbeat)
    {
        if (IsLost && heartbeat.LearnerSince > LogIndex.None && heartbeat.Context == _lossNumber)
        {
            _passiveUntil = heartbeat.LearnerSince;
            MarkHardStateChanged();
        }
    }

    private void EndPassivityWhenMemberAnew()
    {
        if (IsPassive && _commitIndex >= _passiveUntil)
        {
            Invariant.Check(_configuration.Index >= _passiveUntil, "the log holds what it waited for");
            _passiveUntil = LogIndex.None;
            MarkHardStateChanged();
        }
    }
}
