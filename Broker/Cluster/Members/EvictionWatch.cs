using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Cluster;

/// <summary>
/// Which member has been silent for too long and is to be evicted, and which one that was is back. By what the leader
/// of the metadata group hears, and by its own clock: silence counts from the last sign of life, and not before this
/// node began to lead. Time in which the leader itself did nothing (it was stopped, or its machine was) is nobody's
/// silence. Has no clock of its own; one thread.
/// </summary>
/// <param name="self">The node that looks.</param>
/// <param name="evictAfter">How long a member may be silent; null: for ever.</param>
internal sealed class EvictionWatch(NodeId self, TimeSpan? evictAfter)
{
    /// <summary>
    /// Who looks so seldom was not there: everybody's silence begins anew. A look comes at least every second.
    /// </summary>
    private const long LookGapMs = 2_000;

    /// <summary>
    /// One that was evicted is back when it has been heard without a break for so long, and has what there is.
    /// </summary>
    private const long BackAfterMs = 2_000;

    private readonly Dictionary<NodeId, Sign> _signs = [];
    private Term _term;
    private long _lookedMs;

    /// <param name="HeardMs">When the member was last heard.</param>
    /// <param name="SinceMs">Since when it has been heard without a break; null: it is silent.</param>
    private readonly record struct Sign(long HeardMs, long? SinceMs);

    /// <summary>
    /// The next change that silence or its end asks for; null: none now. To be asked again and again.
    /// </summary>
    /// <param name="members">Who belongs to the cluster.</param>
    /// <param name="term">The term in which this node leads the metadata group.</param>
    /// <param name="followers">What it knows of its followers there: all members but itself.</param>
    /// <param name="groups">
    /// The configuration of each group, as far as it is known here; null: not all are, and nobody is evicted now.
    /// </param>
    /// <param name="nowMs">The time, by a clock that never jumps.</param>
    public (NodeId Node, MemberState State)? Look(
        ClusterMembers members,
        Term term,
        IReadOnlyList<FollowerProgress> followers,
        IReadOnlyList<GroupConfiguration>? groups,
        long nowMs)
    {
        Listen(members, term, followers, nowMs);
        if (members.Changing is { State: not MemberState.Joining })
        {
            return null;
        }

        if (evictAfter is { } patience && groups is not null
            && FindSilent(members, groups, (long)patience.TotalMilliseconds, nowMs) is { } one)
        {
            return (one, MemberState.Evicting);
        }

        foreach (var follower in followers)
        {
            if (members.Changing is null && follower.IsCaughtUp
                && members.Find(follower.NodeId)?.State == MemberState.Evicted
                && _signs.TryGetValue(follower.NodeId, out var sign) && nowMs - sign.SinceMs >= BackAfterMs)
            {
                return (follower.NodeId, MemberState.Joining);
            }
        }

        return null;
    }

    private void Listen(
        ClusterMembers members, Term term, IReadOnlyList<FollowerProgress> followers, long nowMs)
    {
        if (term != _term || nowMs - _lookedMs > LookGapMs)
        {
            _signs.Clear();
        }

        (_term, _lookedMs) = (term, nowMs);
        foreach (var gone in _signs.Keys.Where(known => members.Find(known) is null).ToList())
        {
            _signs.Remove(gone);
        }

        foreach (var member in members.Nodes.Values)
        {
            _signs.TryAdd(member.Id, new Sign(nowMs, SinceMs: null));
        }

        Hear(self, isHeard: true, nowMs);
        foreach (var follower in followers)
        {
            Hear(follower.NodeId, follower.RecentlyActive, nowMs);
        }
    }

    private void Hear(NodeId node, bool isHeard, long nowMs)
    {
        if (_signs.TryGetValue(node, out var sign))
        {
            _signs[node] = isHeard ? new Sign(nowMs, sign.SinceMs ?? nowMs) : sign with { SinceMs = null };
        }
    }

    /// <summary>
    /// The one that has been silent for longest, of those that can be spared. One that joins holds up all other changes
    /// until it is there: it goes first, and nobody else while it is on its way.
    /// </summary>
    private NodeId? FindSilent(
        ClusterMembers members, IReadOnlyList<GroupConfiguration> groups, long patienceMs, long nowMs)
    {
        NodeId? found = null;
        var longestMs = patienceMs - 1;
        foreach (var member in members.Nodes.Values)
        {
            var isAsked = members.Changing is { } changing
                ? member == changing
                : member is { State: MemberState.Member, IsDraining: false };
            var silentMs = nowMs - _signs[member.Id].HeardMs;
            if (isAsked && _signs[member.Id].SinceMs is null && silentMs > longestMs
                && CanSpare(members, member, groups))
            {
                (found, longestMs) = (member.Id, silentMs);
            }
        }

        return found;
    }

    /// <summary>
    /// Every group keeps enough voters for an eviction to gain something, and a majority of them lives.
    /// </summary>
    private bool CanSpare(
        ClusterMembers members, ClusterMember member, IReadOnlyList<GroupConfiguration> groups)
    {
        for (var at = 0; at < groups.Count; at++)
        {
            var group = groups[at];
            if (!group.IsVoter(member.Id))
            {
                continue;
            }

            var others = group.Voters.Length - 1;
            var living = 0;
            foreach (var voter in group.Voters)
            {
                living += voter != member.Id && IsHeard(voter) ? 1 : 0;
            }

            if (living <= others / 2
                || (member.State == MemberState.Member && others < Limits.VotersAfterEviction
                    && !HasSubstitute(members, at)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Where only some data nodes vote in a shard, one that does not takes the place of one that goes.
    /// </summary>
    private bool HasSubstitute(ClusterMembers members, int at) =>
        members.Placements.TryGetValue(at, out var voters) && members.Nodes.Values.Any(
            each => each.State == MemberState.Member && each.Roles.HasFlag(NodeRoles.Data)
                && !voters.Contains(each.Id.Value) && IsHeard(each.Id));

    private bool IsHeard(NodeId node) => _signs.TryGetValue(node, out var sign) && sign.SinceMs is not null;
}
