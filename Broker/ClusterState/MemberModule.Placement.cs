using System.Collections.Immutable;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <content>
/// Which data nodes vote in which shard for topics. An operator says how many; the leader of the metadata group says
/// which, one shard after another (Cluster/Members/PlacementPlan), so a shard that nobody has named yet is voted in by
/// all, as it was before.
/// </content>
public sealed partial class MemberModule
{
    private CommandResult SetShardVoters((int Count, bool KeepRecordsAlone) voters, ref StateHasher hash)
    {
        var (count, keepRecordsAlone) = voters;
        hash.Add(count);
        if (keepRecordsAlone)
        {
            hash.Add(1UL);
        }

        // Where all vote there is nobody who only receives a log.
        if ((count == 0 && keepRecordsAlone)
            || (count != 0 && count is < Limits.LeastShardVoters or > GroupConfiguration.MaxMembers))
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        if (!Next.IsKnown)
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        var isSo = Next.ShardVoters == count && Next.VotersKeepRecordsAlone == keepRecordsAlone;
        Next = isSo ? Next : Next with { ShardVoters = count, VotersKeepRecordsAlone = keepRecordsAlone };
        return new CommandResult { Duplicate = isSo };
    }

    // Who proposes it may have seen older members: a node that is on its way out since then is not taken in.
    private CommandResult PlaceShard((GroupId Shard, int[] Voters) place, ref StateHasher hash)
    {
        hash.Add(place.Shard.Value);
        var isRising = true;
        for (var i = 0; i < place.Voters.Length; i++)
        {
            hash.Add(place.Voters[i]);
            isRising &= i == 0 || place.Voters[i - 1] < place.Voters[i];
        }

        var shard = place.Shard.Value;
        if (!isRising || shard is < 1 or > Limits.Shards || place.Voters.Length > GroupConfiguration.MaxMembers)
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        var before = Next.Placements.GetValueOrDefault(shard);
        if ((place.Voters.Length == 0) != (Next.ShardVoters == 0)
            || place.Voters.Any(voter => before?.Contains(voter) != true && !MayComeIn(voter)))
        {
            return Refused(RefusalCode.FailedPrecondition);
        }

        if (place.Voters.Length == 0 ? before is null : before?.SetEquals(place.Voters) == true)
        {
            return new CommandResult { Duplicate = true };
        }

        Next = Next with
        {
            Placements = place.Voters.Length == 0
                ? Next.Placements.Remove(shard)
                : Next.Placements.SetItem(shard, [.. place.Voters]),
        };
        return default;
    }

    private bool MayComeIn(int voter) => Next.Nodes.TryGetValue(voter, out var member)
        && member.State == MemberState.Member && member.Roles.HasFlag(NodeRoles.Data);

    private static ImmutableSortedDictionary<int, ImmutableSortedSet<int>> WithoutNode(
        ImmutableSortedDictionary<int, ImmutableSortedSet<int>> placements, int node)
    {
        foreach (var (shard, voters) in placements)
        {
            if (voters.Contains(node))
            {
                // Of one that nobody else is named for all nodes are voters again.
                placements = voters.Count == 1
                    ? placements.Remove(shard)
                    : placements.SetItem(shard, voters.Remove(node));
            }
        }

        return placements;
    }
}
