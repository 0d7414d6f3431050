using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// Spreads leaders: group g belongs to node g modulo the number of nodes. After a node has come back and stayed, the
/// node that led in its stead hands the group back, so that one crash does not leave all the work on one node.
/// </summary>
internal sealed class LeaderBalancer(
    ClusterOptions options,
    IReadOnlyList<ReplicaGroup> groups,
    PeerTransport transport,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    /// <summary>
    /// A node counts as back when it has been connected and the group quiet in its leadership for so long.
    /// </summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(10);

    private readonly Dictionary<GroupId, (Term Term, DateTimeOffset Since)> _stable = [];

    public static NodeId PreferredLeader(ClusterOptions options, GroupId group) =>
        options.Nodes[group.Value % options.Nodes.Count].Node;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Interval, time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            foreach (var group in groups)
            {
                Look(group);
            }
        }
    }

    private void Look(ReplicaGroup group)
    {
        var status = group.Status;
        var preferred = PreferredLeader(options, group.Id);
        var eligible = status.Role == RaftRole.Leader
            && preferred != options.NodeId
            && transport.IsConnected(preferred);
        var now = time.GetUtcNow();
        if (!eligible)
        {
            _stable.Remove(group.Id);
            return;
        }

        if (!_stable.TryGetValue(group.Id, out var stable) || stable.Term != status.Term)
        {
            _stable[group.Id] = (status.Term, now);
            return;
        }

        if (now - stable.Since >= SettleTime)
        {
            _stable[group.Id] = (status.Term, now);
            ClusterEvents.Balancing(logger, group.Id.Value, preferred.Value);
            group.OfferLeadership(preferred);
        }
    }
}
