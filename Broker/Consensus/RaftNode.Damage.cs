using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Replicas whose disk has lost something that they may have acknowledged; see <see cref="ReplicaDamage"/>.
/// </content>
public sealed partial class RaftNode
{
    private readonly ReplicaDamage _damage;
    private readonly HollowWord _hollow;

    /// <summary>Its log has lost an end that it may have acknowledged, and has not caught up with it.</summary>
    public bool IsFenced => _damage.IsFenced;

    /// <summary>It has lost its log or its vote, and gives no votes yet.</summary>
    public bool IsPassive => _damage.IsPassive;

    /// <summary>See <see cref="ReplicaDamage.Fence"/>.</summary>
    public LogPosition Fence => _damage.Fence;

    private bool IsInDoubt => _damage.IsInDoubt(IsOnlyVoter, _nowMs);

    private void ReportLoss(RaftMessageKind kind) => Send(MessageTo(Leader, kind) with
    {
        Reject = true,
        Lost = true,
        Context = _damage.LossNumber,
    });

    /// <summary>The log, or what is known to be committed of it, has grown.</summary>
    private void LiftRestrictions()
    {
        if (_damage.AwaitsLog && MatchIndex >= _log.BaseIndex)
        {
            _damage.Reach(new LogPosition(MatchIndex, TermAt(MatchIndex)));
        }

        if (_damage.TryEndPassivity(_commitIndex, Configuration, Term))
        {
            _disk.MarkHardStateChanged();
        }
    }
}
