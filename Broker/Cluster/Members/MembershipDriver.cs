using System.Buffers;
using Broker.ClusterState;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>
/// Brings the groups that this node leads to what the members of the cluster ask for (<see cref="MembershipPlan"/>),
/// moves leadership away from a node that leaves, drains, or is not to vote in a shard any more, and, where this node
/// leads the metadata group, writes down when a member has come in or has left, has been silent for too long, or is
/// back, and which nodes are to vote in which shard (<see cref="PlacementPlan"/>). The steps themselves are Raft's, one
/// at a time in each group.
/// </summary>
internal sealed class MembershipDriver(
    BrokerNode node,
    NodeStore store,
    TimeProvider time,
    BrokerMetrics metrics,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);

    /// <summary>While somebody is on the way in or out.</summary>
    private static readonly TimeSpan IntervalWhenChanging = TimeSpan.FromMilliseconds(100);

    private readonly EvictionWatch _silence = new(node.Options.NodeId, node.Options.EvictAfter);
    private readonly GroupViews _views = new(node);
    private ClusterMembers? _remembered;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var interval = node.Metadata.Members.Changing is null ? Interval : IntervalWhenChanging;
            await Beat.NextAsync(interval, time, cancellationToken);
            var members = node.Metadata.Members;
            if (members.IsKnown && !ReferenceEquals(members, _remembered))
            {
                _remembered = members;
                store.RememberMembers(
                    members.ListFounders(),
                    [.. members.Nodes.Values.Select(static member =>
                        new KnownMember(member.Id, member.Name, member.Address))]);
            }

            try
            {
                await LookAsync(members, cancellationToken);
            }
            catch (BrokerException refusal)
            {
                // Nobody leads the metadata at the moment, or another one does by now: at the next look.
                ClusterEvents.MembershipWaits(logger, refusal.Message);
            }
        }
    }

    private async Task LookAsync(ClusterMembers members, CancellationToken cancellationToken)
    {
        var statuses = node.Groups.Select(static group => group.Status).ToArray();
        var leadsMetadata = statuses[0].Role == RaftRole.Leader;
        var views = await LookAtGroupsAsync(members, leadsMetadata, cancellationToken);
        var plan = PlanOf(members, views ?? _views.LookHere());
        var isDue = false;
        for (var at = 0; views is not null && at < statuses.Length; at++)
        {
            if (statuses[at].Role != RaftRole.Leader)
            {
                // Whoever leads next begins with what it knows then.
                node.Groups[at].DesiredMembers = null;
            }
            else if (!members.IsKnown)
            {
                node.Groups[at].DesiredMembers = new DesiredMembers(node.FoundersOf(new GroupId(at)), []);
            }
            else if (plan.IsDue(at))
            {
                isDue = true;
            }
            else
            {
                node.Groups[at].DesiredMembers = plan.MembersOf(at);
            }
        }

        if (isDue)
        {
            await ApproachAsync(leadsMetadata, cancellationToken);
        }

        LeadNothingWhenLeaving(members, statuses);
        LeadOnlyWherePlaced(members, statuses);
        LeadNothingWhileDraining(members);
        KeepWhatIsPlacedHere(members);
        if (leadsMetadata && members.IsKnown)
        {
            await LookForSilenceAsync(members, statuses[0].Term, cancellationToken);
            if (members.Changing is { } member && views is not null)
            {
                await SettleAsync(member, plan, views, cancellationToken);
            }

            await PlaceAsync(cancellationToken);
        }
    }

    /// <summary>
    /// A dedicated controller does not know by itself how far a data node has come. Null: nobody can say now, and what
    /// is wanted stays as it is.
    /// </summary>
    private async Task<IReadOnlyList<GroupView>?> LookAtGroupsAsync(
        ClusterMembers members, bool leadsMetadata, CancellationToken cancellationToken) =>
        leadsMetadata && members.Changing?.Roles.HasFlag(NodeRoles.Data) == true
            ? await _views.AskAsync(cancellationToken)
            : _views.LookHere();

    /// <summary>
    /// A replica of the metadata that lags behind knows older members, and must not undo what others did since. So it
    /// is brought up to the leader's before a step is taken.
    /// </summary>
    private async Task ApproachAsync(bool leadsMetadata, CancellationToken cancellationToken)
    {
        await node.CatchUpMetadataAsync(cancellationToken);
        var members = node.Metadata.Members;
        if (await LookAtGroupsAsync(members, leadsMetadata, cancellationToken) is not { } views)
        {
            return;
        }

        var plan = PlanOf(members, views);
        for (var at = 0; at < node.Groups.Count; at++)
        {
            if (node.Groups[at].Status.Role == RaftRole.Leader)
            {
                node.Groups[at].Approach(plan.MembersOf(at));
            }
        }
    }

    private void LeadNothingWhenLeaving(ClusterMembers members, GroupStatus[] statuses)
    {
        // One that is evicted may have been elected when it came back, before it was taken out.
        if (members.Find(node.Options.NodeId)?.State is not (MemberState.Leaving or MemberState.Evicting))
        {
            return;
        }

        for (var at = 0; at < statuses.Length; at++)
        {
            if (statuses[at].Role == RaftRole.Leader && statuses[at].Condition.Configuration.Voters.Length > 1)
            {
                // When nobody is fit to lead now, at the next look.
                _ = node.Groups[at].BeginTransferAsync(NodeId.None);
            }
        }
    }

    /// <summary>See <see cref="PlacementPlan.MustHandOver"/>.</summary>
    private void LeadOnlyWherePlaced(ClusterMembers members, GroupStatus[] statuses)
    {
        for (var at = 1; at < statuses.Length; at++)
        {
            var configuration = statuses[at].Condition.Configuration;
            if (statuses[at].Role == RaftRole.Leader
                && PlacementPlan.MustHandOver(members, at, node.Options.NodeId, configuration))
            {
                // Not fit to lead now, or somebody who is not to vote either: at the next look.
                var heir = node.PreferredLeaderOf(new GroupId(at));
                _ = node.Groups[at].BeginTransferAsync(
                    configuration.IsVoter(heir) && node.IsConnected(heir) ? heir : NodeId.None);
            }
        }
    }

    /// <summary>The next move, when those before have come about; see <see cref="PlacementMove.IsUrgent"/>.</summary>
    private async Task PlaceAsync(CancellationToken cancellationToken)
    {
        // What was proposed a moment ago may have been applied meanwhile.
        var members = node.Metadata.Members;
        if (PlacementPlan.Next(members, node.Options.DataShards) is not { } move)
        {
            return;
        }

        if (!move.IsUrgent && (members.Changing is not null
            || await _views.AskAsync(cancellationToken) is not { } views
            || !PlacementPlan.IsSettled(members, views)))
        {
            return;
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteShardPlaced(command, move.Shard, move.Voters);
        var result = await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
        if (result.Code == RefusalCode.None)
        {
            ClusterEvents.ShardPlaced(
                logger,
                move.Shard.Value,
                move.Voters.IsEmpty ? "all data nodes" : $"nodes {string.Join(", ", move.Voters)}");
        }
    }

    private void LeadNothingWhileDraining(ClusterMembers members)
    {
        var isDraining = members.Find(node.Options.NodeId)?.IsDraining ?? false;
        foreach (var group in node.Groups)
        {
            group.IsDraining = isDraining;
        }
    }

    /// <summary>
    /// By this node's members, which may be old ones. That is why the groups' leaders are told, and hear of it for long
    /// before anything is given up.
    /// </summary>
    private void KeepWhatIsPlacedHere(ClusterMembers members)
    {
        foreach (var group in node.Groups)
        {
            group.MayBeHollow = members.IsKnown && !members.KeepsRecords(node.Options.NodeId, group.Id);
        }
    }

    private async Task LookForSilenceAsync(
        ClusterMembers members, Term term, CancellationToken cancellationToken)
    {
        if (node.Options.EvictAfter is null
            && members.Nodes.Values.All(static member => member.State != MemberState.Evicted))
        {
            return; // Nobody is evicted, and nobody comes back.
        }

        // The others are asked only where somebody may have to go.
        var followers = await node.Group(GroupId.Metadata).AskFollowersAsync().WaitAsync(cancellationToken);
        var views = !node.Options.HoldsTopics && followers.All(static follower => follower.RecentlyActive)
            ? null
            : await _views.AskAsync(cancellationToken);
        var change = _silence.Look(
            members,
            term,
            followers,
            views is null ? null : [.. views.Select(static view => view.Members)],
            (long)time.GetElapsedTime(0).TotalMilliseconds);
        if (change is not var (id, state) || members.Find(id) is not { } member)
        {
            return;
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteChanged(command, id, state);
        var result = await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
        if (result.Code != RefusalCode.None)
        {
            // Another change began a moment before: at a later look.
            return;
        }

        if (state == MemberState.Evicting)
        {
            metrics.MemberEvicted();
            ClusterEvents.MemberEvicting(logger, id.Value, member.Name, node.Options.EvictAfter);
        }
        else
        {
            ClusterEvents.MemberReturning(logger, id.Value, member.Name);
        }
    }

    private async Task SettleAsync(
        ClusterMember member,
        MembershipPlan plan,
        IReadOnlyList<GroupView> views,
        CancellationToken cancellationToken)
    {
        var outcome = plan.OutcomeOf(member, at => views[at].IsCommitted);
        if (outcome == member.State)
        {
            return;
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteChanged(command, member.Id, outcome);
        await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
        ClusterEvents.MemberSettled(logger, member.Id.Value, member.Name, outcome);
    }

    private static MembershipPlan PlanOf(ClusterMembers members, IReadOnlyList<GroupView> views) =>
        new(members, [.. views.Select(static view => view.Members)]);
}
