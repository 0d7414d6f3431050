using System.Buffers;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Cluster;

/// <summary>
/// Has a member step back at an operator's word: it leaves the cluster, or leads nothing until it is to lead again.
/// Either is refused where the others could not go on without it.
/// </summary>
internal sealed class Departure(BrokerNode node, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>Takes a member out; completes when it has left every group. Any node.</summary>
    public async Task RemoveAsync(NodeId id, CancellationToken cancellationToken)
    {
        await node.CatchUpMetadataAsync(cancellationToken);
        if (node.Metadata.Members.Find(id) is not { } member)
        {
            return;
        }

        if (member.State != MemberState.Leaving)
        {
            CheckHasOthers(member);
            await CheckCanSpareAsync(id, cancellationToken);
            var command = new ArrayBufferWriter<byte>();
            MemberCommands.WriteChanged(command, id, MemberState.Leaving);
            var result = await node.ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
            if (result.Code != RefusalCode.None)
            {
                throw Refusal.FailedPrecondition(
                    $"Node {id} cannot leave now: it is the last member, or another node is joining or leaving "
                    + $"({node.Metadata.Members.Changing?.Name ?? "a moment ago"}). Members change one at a time; "
                    + "again when that is over.");
            }

            ClusterEvents.MemberLeaving(logger, id.Value, member.Name);
            await node.WaitForMetadataAsync(
                () => node.Metadata.Members.Find(id)?.State is null or MemberState.Leaving, cancellationToken);
        }

        // Who is removed does not hear of the end of it from the others, but when it asks them.
        await node.WaitForMetadataAsync(
            () => node.IsRemoved || node.Metadata.Members.Find(id) is null, cancellationToken);
    }

    /// <summary>
    /// Has a member lead nothing from now on, or lead again. Any node. Answers, of a member that drains, the groups
    /// that it still leads after a while, as this node sees it; mostly none.
    /// </summary>
    public async Task<IReadOnlyList<GroupId>> DrainAsync(
        NodeId id, bool drains, CancellationToken cancellationToken)
    {
        await node.CatchUpMetadataAsync(cancellationToken);
        var member = node.Metadata.Members.Find(id)
            ?? throw Refusal.NotFound($"Node {id} is no member of this cluster.");
        if (member.IsDraining != drains)
        {
            var command = new ArrayBufferWriter<byte>();
            MemberCommands.WriteDrained(command, id, drains);
            var result = await node.ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
            if (result.Code != RefusalCode.None)
            {
                throw result.Code == RefusalCode.NotFound
                    ? Refusal.NotFound($"Node {id} is no member of this cluster any more.")
                    : Refusal.FailedPrecondition(
                        $"'{member.Name}' cannot drain: no other member could lead some shard then, as all others that "
                        + "vote there drain, or are on their way in or out. Nothing was changed; have one of them lead "
                        + "again first (UndrainNode).");
            }

            if (drains)
            {
                ClusterEvents.MemberDraining(logger, id.Value, member.Name);
            }
            else
            {
                ClusterEvents.MemberUndrained(logger, id.Value, member.Name);
            }
        }

        return drains ? await WaitUntilLeadsNothingAsync(id, cancellationToken) : [];
    }

    /// <summary>
    /// The groups that a node still leads when the time is over; one without a leader may become one.
    /// </summary>
    private async Task<IReadOnlyList<GroupId>> WaitUntilLeadsNothingAsync(
        NodeId id, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var left = node.Groups.Where(group => group.Status.Leader is var leader && (leader == id || leader.IsNone))
                .Select(static group => group.Id).ToList();
            if (left.Count == 0 || time.GetElapsedTime(began).TotalMilliseconds >= Limits.DrainWaitMs)
            {
                return left;
            }

            await Task.Delay(LookInterval, time, cancellationToken);
        }
    }

    private void CheckHasOthers(ClusterMember member)
    {
        var members = node.Metadata.Members;
        if (members.Nodes.Count > 1 && !members.CanSpare(member.Id))
        {
            var others = members.Nodes.Values.Where(each => each.Id != member.Id);
            var last = others.Any(static each => each.Roles.HasFlag(NodeRoles.Data)) ? "controller" : "data node";
            throw Refusal.FailedPrecondition(
                $"Node {member.Id} ({member.Name}) is the last {last}, and a cluster needs one. "
                + "Nothing was changed; have another one join first (AddNode, Broker__Roles).");
        }
    }

    /// <summary>
    /// Without a node each of its groups still needs a majority of nodes that live; as this one sees it. Raft looks
    /// again, as each leader sees it. Who has just joined, or starts again, may not be connected to this node yet.
    /// </summary>
    private async Task CheckCanSpareAsync(NodeId id, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        while (WhyNotSpared(id) is { } refusal)
        {
            if (time.GetElapsedTime(began).TotalMilliseconds >= Limits.SpareWaitMs)
            {
                throw refusal;
            }

            await Task.Delay(LookInterval, time, cancellationToken);
        }
    }

    private BrokerException? WhyNotSpared(NodeId id)
    {
        foreach (var group in node.Groups)
        {
            var configuration = group.Status.Condition.Configuration;
            var others = configuration.Voters.Where(voter => voter != id).ToList();
            var live = others.Count(voter => voter == node.Options.NodeId || node.IsConnected(voter));
            if (configuration.IsVoter(id) && live <= others.Count / 2)
            {
                return Refusal.FailedPrecondition(
                    $"Without node {id}, shard {group.Id} would have {others.Count} voters, of which {live} live: no "
                    + "majority. Nothing was changed; start or remove the dead ones first.");
            }
        }

        return null;
    }
}
