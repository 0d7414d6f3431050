using Broker.Domain;

namespace Broker.Cluster;

/// <summary>What a node with an empty disk does next.</summary>
internal enum FormationStep
{
    /// <summary>It waits: see <see cref="FormationVerdict.Obstacle"/>.</summary>
    Wait,

    /// <summary>It is one of the nodes that a new cluster begins with.</summary>
    Found,

    /// <summary>It joins the cluster that is there, as a replica that has lost everything.</summary>
    Join,
}

/// <param name="Step">What to do.</param>
/// <param name="Obstacle">What it waits for, in words for the operator; empty when it does not wait.</param>
/// <param name="ClusterId">The cluster to join.</param>
/// <param name="Founders">Those that the new cluster begins with.</param>
internal sealed record FormationVerdict(
    FormationStep Step, string Obstacle = "", Guid? ClusterId = null, IReadOnlyList<Founder>? Founders = null);

/// <summary>
/// How a cluster comes into being. A new one forms only while all its nodes, not just most of them, are connected with
/// empty disks: who has been in a cluster keeps the others from forming another, and who is away might have been. So
/// the nodes of a cluster that lost most of its disks never begin again from nothing beside the one that has the
/// messages.
/// <para>Once founded a node takes part in votes. Others may be founded moments later, also by what they saw moments
/// ago: each was seen with the disk that it still has, and that disk has promised nothing before.</para>
/// </summary>
internal static class Formation
{
    /// <summary>
    /// A peer that refuses this node ends the stream at once; one that keeps it for so long has taken the node in.
    /// </summary>
    private static readonly TimeSpan AdmittedAfter = TimeSpan.FromSeconds(1);

    public static FormationVerdict Decide(ClusterOptions options, PeerRegister register, DateTimeOffset now)
    {
        var missing = new List<string>();
        var founders = new List<Founder>();
        string? refusal = null;
        foreach (var peer in options.Nodes)
        {
            if (peer.Node == options.NodeId)
            {
                founders.Add(new Founder(peer.Node, options.Roles));
                continue;
            }

            var sight = register.Find(peer.Node);
            refusal ??= register.RefusalOf(peer.Node) is { } words ? $"{peer.Name} says: {words}" : null;
            if (sight is { ClusterId: { } clusterId })
            {
                return now - sight.ConnectedAt >= AdmittedAfter
                    ? new FormationVerdict(FormationStep.Join, ClusterId: clusterId)
                    : new FormationVerdict(FormationStep.Wait, ThereIsACluster(options, clusterId, peer.Name, refusal));
            }

            if (sight?.ConnectedAt is null)
            {
                missing.Add(peer.Name);
            }
            else
            {
                founders.Add(new Founder(peer.Node, sight.Roles));
            }
        }

        return missing.Count > 0
            ? new FormationVerdict(FormationStep.Wait, Waiting(options, missing, refusal))
            : WhyNotWithRoles(founders) is { } lacking
                ? new FormationVerdict(FormationStep.Wait, lacking)
                : new FormationVerdict(FormationStep.Found, Founders: founders);
    }

    /// <summary>Null: there is somebody to vote in each group.</summary>
    private static string? WhyNotWithRoles(List<Founder> founders)
    {
        var all = founders.Aggregate(NodeRoles.None, static (roles, founder) => roles | founder.Roles);
        return all == NodeRoles.Both
            ? null
            : $"No cluster forms: all its {founders.Count} nodes are '{all.InWords()}' nodes, and it needs one "
                + $"{(all == NodeRoles.Data ? "controller, better three" : "data node, better three")}, too. Stop a "
                + "node, set its Broker__Roles, and start it with an empty folder, as a disk keeps its roles.";
    }

    private static string ThereIsACluster(ClusterOptions options, Guid clusterId, string peer, string? refusal) =>
        $"{options.NodeName} has an empty disk, and {peer} belongs to cluster {clusterId:N}: no other cluster is "
        + "formed. "
        + (refusal ?? (options.ReplacesLostDisk
            ? $"Waiting for {peer} to take this node in."
            : "A node that is new is taken in within a second. One whose old disk is there must be started with it; if "
            + "that is gone for good, start this node once with Broker__ReplaceLostDisk=true, and never start the old "
            + "disk again."));

    private static string Waiting(ClusterOptions options, List<string> missing, string? refusal) =>
        $"{options.NodeName} has an empty disk. A new cluster forms when all its {options.Nodes.Count} nodes are "
        + $"connected; {string.Join(" and ", missing)} {(missing.Count == 1 ? "is" : "are")} not. "
        + (refusal ?? "Start what is missing; if a node's disk belongs to a cluster, this one must not form another.");
}
