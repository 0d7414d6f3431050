using System.Globalization;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>
/// Carries out an operator's word that a group goes on from this node's replica alone. It looks at all replicas first,
/// and refuses whatever is not the last resort; what it does is written down beside the group's vote file before it is
/// done.
/// </summary>
internal sealed class OperatorRecovery(
    ClusterOptions options,
    NodeDirectory directory,
    IReadOnlyList<ReplicaGroup> groups,
    IReadOnlyList<GroupLog> logs,
    QuorumWatch quorum,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Says what would be done and lost, or does it when the order has its confirmation.</summary>
    /// <exception cref="BrokerException">
    /// NotFound: no such group. InvalidArgument: the order is not for this node, or names nodes wrongly, or its
    /// confirmation is wrong. FailedPrecondition: it is not the last resort, or not from here. OutcomeUnknown: another
    /// replica has a newer term.
    /// </exception>
    public async Task<RecoveryReport> RunAsync(RecoveryOrder order, CancellationToken cancellationToken)
    {
        CheckOrder(order);
        var group = groups[order.Group.Value];
        var replicas = await quorum.LookAsync(group, cancellationToken);
        CheckIsLastResort(order, replicas);
        var self = replicas.Single(replica => replica.Node == options.NodeId);
        var what = $"Shard {order.Group} goes on from {options.NodeName} alone, with its entries through "
            + $"{self.Last.Index} of term {self.Last.Term}. What only others had is lost, also what was acknowledged: "
            + string.Join("; ", replicas.Where(replica => replica != self).Select(other => Describe(order, other)))
            + ".";
        var confirmation = $"shard {order.Group} from {options.NodeName}";
        if (order.Confirmation.Length == 0)
        {
            return new RecoveryReport(what, confirmation, null);
        }

        if (order.Confirmation != confirmation)
        {
            throw Refusal.InvalidArgument(
                $"confirmation is '{order.Confirmation}', but this is '{confirmation}'. Nothing was done.");
        }

        Record(order, $"{order.Operator} forces a recovery. {what}");
        var others = replicas.Select(static replica => replica.Node)
            .Where(node => node != self.Node && !order.Gone.Contains(node)).ToList();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Timeout);
        try
        {
            var index = await group.ForceRecoveryAsync(
                others, new Term(replicas.Max(static replica => replica.Term.Value)), patience.Token);
            var at = new LogPosition(index, group.Status.Term);
            Record(order, $"The recovery that {order.Operator} forced is done: entry {at.Index} of term {at.Term}.");
            return new RecoveryReport(what, confirmation, at);
        }
        catch (BrokerException refusal)
        {
            Record(order, $"The recovery that {order.Operator} forced was not done: {refusal.Message}");
            throw;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Record(order, $"The recovery that {order.Operator} forced has not ended in time.");
            throw Refusal.OutcomeUnknown(order.Group);
        }
    }

    private static string NotNow(GroupId group) => $"A recovery of shard {group} cannot be forced now";

    private void CheckOrder(RecoveryOrder order)
    {
        if (order.Group.Value < 0 || order.Group.Value > options.DataShards)
        {
            throw Refusal.NotFound($"There is no shard {order.Group}; they are 0 to {options.DataShards}.");
        }

        if (order.Group.Value >= groups.Count)
        {
            throw Refusal.InvalidArgument(
                $"{options.NodeName} is a controller and has no replica of shard {order.Group}; send it to a data "
                + "node.");
        }

        if (order.Node != options.NodeId)
        {
            throw Refusal.InvalidArgument(
                $"node_id is {order.Node}, but this is node {options.NodeId} ({options.NodeName}). Send it to the node "
                + "from whose replica the shard shall go on.");
        }

        if (order.Operator.Length is 0 or > Limits.OperatorNameChars || order.Operator.Any(char.IsControl))
        {
            throw Refusal.InvalidArgument(
                $"operator has {order.Operator.Length} characters, or some that cannot be seen; it says who orders "
                + $"this, in 1 to {Limits.OperatorNameChars} characters, and is written down.");
        }

        foreach (var gone in order.Gone)
        {
            if (gone == options.NodeId || directory.Nodes.All(known => known.Node != gone))
            {
                throw Refusal.InvalidArgument(
                    $"gone_nodes names {gone}, which is {(gone == options.NodeId ? "this node" : "no node")}.");
            }
        }
    }

    /// <summary>
    /// Nobody leads or can be elected, all that may have more were looked at or are gone for good, and nobody has more
    /// than this replica.
    /// </summary>
    private void CheckIsLastResort(RecoveryOrder order, IReadOnlyList<ReplicaFacts> replicas)
    {
        var now = NotNow(order.Group);
        var led = replicas.FirstOrDefault(static replica => !replica.Leader.IsNone);
        if (led is not null)
        {
            throw Refusal.FailedPrecondition($"{now}: {quorum.NameOf(led.Leader)} leads it.");
        }

        foreach (var replica in replicas)
        {
            var isGone = order.Gone.Contains(replica.Node);
            if (!replica.Answers && !isGone)
            {
                throw Refusal.FailedPrecondition(
                    $"{now}: {quorum.NameOf(replica.Node)} does not answer, and may have what this node lacks. Start "
                    + "it; or, if its disk is gone for good, name it in gone_nodes.");
            }

            if (replica.Answers && isGone)
            {
                throw Refusal.FailedPrecondition(
                    $"{now}: gone_nodes names {quorum.NameOf(replica.Node)}, which answers.");
            }
        }

        var left = replicas.Select(replica => order.Gone.Contains(replica.Node)
            ? replica with { Answers = true, IsLost = true }
            : replica).ToList();
        if (QuorumJudge.Judge(order.Group, left, quorum.NameOf) is not { } loss)
        {
            throw Refusal.FailedPrecondition(
                $"{now}: those that are there can elect a leader, and lose nothing by it. Wait for it.");
        }

        var self = left.Single(replica => replica.Node == options.NodeId);
        var best = left.Single(replica => replica.Node == (loss.Best.IsNone ? self.Node : loss.Best));
        if (self.IsLost || self.IsPassive || best.Last > self.Last)
        {
            throw Refusal.FailedPrecondition(
                $"{now} from {options.NodeName}, which {QuorumJudge.Describe(self)}"
                + (best == self
                    ? "."
                    : $": {quorum.NameOf(best.Node)} {QuorumJudge.Describe(best)}, and is the better one."));
        }
    }

    private string Describe(RecoveryOrder order, ReplicaFacts other) => quorum.NameOf(other.Node) + " "
        + (order.Gone.Contains(other.Node) ? "is gone, with all that it had" : QuorumJudge.Describe(other));

    /// <summary>The log of the process comes and goes; the file stays with the data that it is about.</summary>
    private void Record(RecoveryOrder order, string what)
    {
        var record = $"{time.GetUtcNow().ToString("u", CultureInfo.InvariantCulture)} {order.From}: {what}";
        ClusterEvents.RecoveryForced(logger, record);
        logs[order.Group.Value].Audit(record);
    }
}

/// <summary>An operator's word.</summary>
/// <param name="Group">What shall go on.</param>
/// <param name="Node">From whose replica.</param>
/// <param name="Gone">Nodes that are away, and never come back with what they have.</param>
/// <param name="Operator">Who says so.</param>
/// <param name="From">From where it came.</param>
/// <param name="Confirmation">What the answer without one has asked for; empty: only say what would be done.</param>
public sealed record RecoveryOrder(
    GroupId Group, NodeId Node, IReadOnlyCollection<NodeId> Gone, string Operator, string From, string Confirmation);

/// <summary>What an order does.</summary>
/// <param name="What">In words.</param>
/// <param name="Confirmation">What to repeat, so that it is done.</param>
/// <param name="At">The entry that has brought it; null: nothing was done.</param>
public sealed record RecoveryReport(string What, string Confirmation, LogPosition? At);
