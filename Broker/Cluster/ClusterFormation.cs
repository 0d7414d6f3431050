using System.Buffers;
using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;
using Broker.Topics;

namespace Broker.Cluster;

/// <summary>
/// Forms the cluster: the metadata group's first leader draws the cluster id, its leaders register the nodes and their
/// disks, and every node writes the id beside its logs, so that it never joins another cluster by mistake.
/// </summary>
internal sealed class ClusterFormation(
    BrokerNode node, NodeStore store, PeerRegister register, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    /// <summary>Once all nodes are known there is nothing to do, until one of them comes with another disk.</summary>
    private static readonly TimeSpan IntervalWhenFormed = TimeSpan.FromSeconds(2);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        register.Seen(node.Options.NodeId, node.Options.NodeName, store.StoreId);
        using var timer = new PeriodicTimer(Interval, time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            RememberClusterId();
            if ((IsFormed ? IntervalWhenFormed : Interval) is var interval && interval != timer.Period)
            {
                timer.Period = interval;
            }

            if (node.Group(GroupId.Metadata).Status.Role == RaftRole.Leader)
            {
                await LeadAsync(cancellationToken);
            }
        }
    }

    private bool IsFormed =>
        store.ClusterId is not null
        && node.Options.Nodes.All(known => node.Metadata.Current.FindNode(known.Node) is not null);

    private void RememberClusterId()
    {
        if (store.ClusterId is null && node.Metadata.Current.ClusterId is { } clusterId)
        {
            store.SetClusterId(clusterId);
            ClusterLog.Joined(logger, clusterId);
        }
    }

    private async Task LeadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (node.Metadata.Current.ClusterId is null)
            {
                var command = new ArrayBufferWriter<byte>();
                CommandCodec.WriteClusterCreated(command, Guid.NewGuid());
                await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
            }

            foreach (var (id, (name, storeId)) in register.Met)
            {
                if (node.Metadata.Current.FindNode(id) is null)
                {
                    var command = new ArrayBufferWriter<byte>();
                    CommandCodec.WriteNodeRegistered(command, new NodeRegistration(id, name, storeId));
                    await node.ProposeMetadataAsync(command.WrittenMemory, cancellationToken);
                }
            }
        }
        catch (BrokerException refusal)
        {
            // Leadership moved in between; the next leader, or the next round, does it.
            ClusterLog.MetadataRefused(logger, refusal.Message);
        }
    }
}
