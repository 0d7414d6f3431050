using Broker.ClusterState;
using Broker.Domain;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// A node that none of its peers talks to says where it is: it may have another address since its start, or all the
/// others may, or it was removed and does not know. It asks at every address that it knows, and at those that its
/// operator gave it, ever less often.
/// </summary>
internal sealed class Announcer(BrokerNode node, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan IntervalMax = TimeSpan.FromSeconds(15);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var pause = Interval;
        while (!cancellationToken.IsCancellationRequested)
        {
            await Beat.NextAsync(pause, time, cancellationToken);
            var others = node.Directory.Nodes.Where(each => each.Node != node.Options.NodeId).ToList();
            if (!node.IsFounded || others.Exists(each => node.IsConnected(each.Node)))
            {
                pause = Interval;
                continue;
            }

            Uri[] addresses = [.. others.Select(static each => each.Address)
                .Concat(node.Options.JoinAt ?? []).Distinct()];
            foreach (var address in addresses)
            {
                if (await TryAnnounceAsync(address, cancellationToken))
                {
                    break;
                }
            }

            pause = TimeSpan.FromTicks(Math.Min(2 * pause.Ticks, IntervalMax.Ticks));
        }
    }

    private async Task<bool> TryAnnounceAsync(Uri address, CancellationToken cancellationToken)
    {
        try
        {
            var answer = await PeerTransport.RegisterAtAsync(address, node.Hello, cancellationToken);
            if (answer.Removed)
            {
                node.LeaveForGood(answer.Refusal);
                return true;
            }

            if (answer.NodeId != node.Options.NodeId.Value)
            {
                ClusterEvents.NotAnnounced(logger, address, answer.Refusal);
                return false;
            }

            node.Directory.Learn(answer.Members.Select(static member => (
                new ClusterMember(
                    new NodeId((int)member.NodeId), member.Name, member.Address, MemberState.Member),
                member.ClientAddress)));
            return true;
        }
        catch (RpcException failure) when (!cancellationToken.IsCancellationRequested)
        {
            ClusterEvents.NotAnnounced(logger, address, failure.Status.Detail);
            return false;
        }
    }
}
