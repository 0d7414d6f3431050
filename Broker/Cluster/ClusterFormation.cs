using System.Buffers;
using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>
/// Forms the cluster: the metadata group's first leader draws the cluster id, its leaders register the nodes and their
/// disks, and every node writes the id beside its logs, so that it never joins another cluster by mistake. A node with
/// an empty disk takes no part before that is agreed, see <see cref="Formation"/>.
/// </summary>
internal sealed class ClusterFormation(
    BrokerNode node, NodeStore store, PeerRegister register, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    /// <summary>Once all nodes are known there is nothing to do, until one of them comes with another disk.</summary>
    private static readonly TimeSpan IntervalWhenFormed = TimeSpan.FromSeconds(2);

    private volatile string _obstacle = "";

    /// <summary>Why this node takes no part in a cluster yet; empty when it does.</summary>
    public string Obstacle => _obstacle;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var self = node.Options;
        register.Seen(self.NodeId, self.NodeName, store.StoreId, node.Hello.Address, self.Roles);
        await TakePartAsync(cancellationToken);
        while (true)
        {
            await Beat.NextAsync(IsFormed ? IntervalWhenFormed : Interval, time, cancellationToken);
            RememberClusterId();
            if (node.Group(GroupId.Metadata).Status.Role == RaftRole.Leader)
            {
                await LeadAsync(cancellationToken);
            }
        }
    }

    private bool IsFormed =>
        store.ClusterId is not null
        && node.Metadata.Members.IsKnown
        && node.Metadata.Members.Nodes.Values.All(
            member => node.Metadata.Current.FindNode(member.Id) is not null);

    /// <summary>Waits until this node may be one of a cluster's, see <see cref="Formation"/>.</summary>
    private async Task TakePartAsync(CancellationToken cancellationToken)
    {
        while (!store.IsFounded)
        {
            var verdict = Formation.Decide(node.Options, register, time.GetUtcNow());
            switch (verdict.Step)
            {
                case FormationStep.Found:
                    ClusterEvents.Founding(logger, node.Options.Nodes.Count);
                    node.Found(register.Met.Where(met => met.Key != node.Options.NodeId)
                        .ToDictionary(static met => met.Key, static met => met.Value.StoreId),
                        verdict.Founders!);
                    break;
                case FormationStep.Join:
                    ClusterEvents.Joining(logger, verdict.ClusterId!.Value);
                    node.Join(verdict.ClusterId.Value);
                    break;
                default:
                    if (_obstacle != verdict.Obstacle)
                    {
                        _obstacle = verdict.Obstacle;
                        ClusterEvents.Waiting(logger, _obstacle);
                    }

                    // The loop that keeps the streams alive begins with the groups.
                    node.Transport.Flush();
                    await Beat.NextAsync(Interval, time, cancellationToken);
                    break;
            }
        }

        _obstacle = "";
    }

    private void RememberClusterId()
    {
        if (store.ClusterId is null && node.Metadata.Current.ClusterId is { } clusterId)
        {
            store.SetClusterId(clusterId);
            ClusterEvents.Joined(logger, clusterId);
        }
    }

    private async Task LeadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (node.Metadata.Current.ClusterId is null)
            {
                var command = new ArrayBufferWriter<byte>();
                ClusterCommands.WriteClusterCreated(command, Guid.NewGuid());
                await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
            }

            if (!node.Metadata.Members.IsKnown)
            {
                await NameMembersAsync(cancellationToken);
            }

            foreach (var (id, sight) in register.Met)
            {
                if (node.Metadata.Members.Find(id) is { } member)
                {
                    await RegisterAsync(new NodeRegistration(id, sight.Name, sight.StoreId), sight, cancellationToken);
                    await NoteAddressAsync(member, sight.Address, cancellationToken);
                }
            }
        }
        catch (BrokerException refusal)
        {
            // Leadership moved in between; the next leader, or the next round, does it.
            ClusterEvents.MetadataRefused(logger, refusal.Message);
        }
    }

    /// <summary>
    /// The members are those that the cluster began with, by this node's word: also in a cluster of before members
    /// could change by request.
    /// </summary>
    private async Task NameMembersAsync(CancellationToken cancellationToken)
    {
        var known = node.Directory.Nodes;
        if (!node.Group(GroupId.Metadata).Status.Condition.Configuration.Voters.All(
            voter => known.Any(each => each.Node == voter)))
        {
            return;
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteFounded(command, [.. known.Select(each => new ClusterMember(
            each.Node, each.Name, each.Address.ToString().TrimEnd('/'), MemberState.Member)
            {
                Roles = node.Founders.FirstOrDefault(
                    founder => founder.Node == each.Node, new Founder(each.Node, NodeRoles.Both)).Roles,
            })]);
        await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
    }

    private async Task RegisterAsync(NodeRegistration met, PeerSight sight, CancellationToken cancellationToken)
    {
        var command = new ArrayBufferWriter<byte>();
        var cluster = node.Metadata.Current;
        if (cluster.FindNode(met.Id) is not { } known)
        {
            ClusterCommands.WriteNodeRegistered(command, met);
        }
        else if (known.StoreId != met.StoreId && sight.ReplacesLostDisk
            && !cluster.RetiredStores.Contains(met.StoreId))
        {
            ClusterEvents.DiskReplaced(logger, met.Id.Value, met.Name, met.StoreId, known.StoreId);
            ClusterCommands.WriteNodeReplaced(command, met);
        }
        else
        {
            return;
        }

        await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
    }

    private async Task NoteAddressAsync(ClusterMember member, string address, CancellationToken cancellationToken)
    {
        if (address.Length > 0 && address != member.Address)
        {
            var command = new ArrayBufferWriter<byte>();
            MemberCommands.WriteMoved(command, member.Id, address);
            await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
        }
    }
}
