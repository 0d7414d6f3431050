using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>Who is a member of a group, as far as somebody knows.</summary>
/// <param name="Members">The members.</param>
/// <param name="IsCommitted">That they are has committed.</param>
public sealed record GroupView(GroupConfiguration Members, bool IsCommitted)
{
    /// <summary>
    /// By what the replicas of a group say: the word of the one that leads, when most of its voters say so in the same
    /// term. One that was replaced, and does not know it, may have older members. Null: nobody knows at the moment.
    /// </summary>
    public static GroupView? Of(IReadOnlyList<ReplicaFacts> replicas)
    {
        var leader = replicas.Where(static each => each.Answers && each.Leader == each.Node)
            .MaxBy(static each => each.Term);
        if (leader is null)
        {
            return null;
        }

        var agreeing = replicas.Count(each => each.Answers && each.Term == leader.Term && each.Leader == leader.Node
            && leader.Members.IsVoter(each.Node));
        return agreeing > leader.Members.Voters.Length / 2
            ? new GroupView(leader.Members, leader.CommitIndex >= leader.Members.Index)
            : null;
    }
}

/// <summary>
/// The members of all groups. A dedicated controller has a replica of the first one only, and decides as its leader
/// when a data node has come in or has left: it asks the data nodes.
/// </summary>
internal sealed class GroupViews(BrokerNode node)
{
    /// <summary>Far below the time after which a leader's own pause is nobody's silence (EvictionWatch).</summary>
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromMilliseconds(500);

    /// <summary>By the own replicas; of a group without one: nobody.</summary>
    public IReadOnlyList<GroupView> LookHere() =>
    [
        .. Enumerable.Range(0, node.Options.DataShards + 1).Select(at =>
        {
            if (at >= node.Groups.Count)
            {
                return new GroupView(GroupConfiguration.None, IsCommitted: false);
            }

            var status = node.Groups[at].Status;
            var members = status.Condition.Configuration;
            return new GroupView(members, status.CommitIndex >= members.Index);
        }),
    ];

    /// <summary>The same, and of groups without an own replica by word of the others; null: not all are known now.
    /// </summary>
    public async Task<IReadOnlyList<GroupView>?> AskAsync(CancellationToken cancellationToken)
    {
        var views = LookHere();
        if (node.Options.HoldsTopics)
        {
            return views;
        }

        NodeId[] others = [.. node.Metadata.Members.Nodes.Values
            .Where(each => each.Roles.HasFlag(NodeRoles.Data) && node.IsConnected(each.Id))
            .Select(static each => each.Id)];
        var answers = await Task.WhenAll(others.Select(other => AskAsync(other, cancellationToken)));
        var asked = Enumerable.Range(1, node.Options.DataShards).Select(at => GroupView.Of(
            [.. others.Zip(answers).Select(pair => FactsOf(pair.First, pair.Second, at))])).ToList();
        return asked.Contains(null) ? null : [views[0], .. asked.OfType<GroupView>()];
    }

    private static ReplicaFacts FactsOf(NodeId other, DescribeReplicasResponse? answer, int group) =>
        answer?.Replicas.FirstOrDefault(each => each.Group == group) is { } wire
            ? ReplicaFacts.FromWire(other, wire)
            : ReplicaFacts.Unknown(other);

    /// <summary>Null: it does not answer.</summary>
    private async Task<DescribeReplicasResponse?> AskAsync(NodeId other, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(AnswerTimeout);
        try
        {
            return await node.Transport.DescribeReplicasAsync(other, patience.Token);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested
            && (e is RpcException or OperationCanceledException))
        {
            return null; // Who does not answer does not count; nobody is to read of it twice a second.
        }
    }
}
