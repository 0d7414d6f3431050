using System.Collections.Concurrent;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Asks the other nodes, while nobody leads a group for longer than an election takes, what their replicas have and
/// lack: whether a leader can be elected at all.
/// </summary>
internal sealed class QuorumWatch(
    ClusterOptions options,
    MetadataStateMachine metadata,
    NodeDirectory directory,
    IReadOnlyList<ReplicaGroup> groups,
    PeerTransport transport,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>Longer than elections take, and than a node needs to hear of the leader that there is.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(2);

    private readonly Dictionary<GroupId, long> _leaderlessSince = [];
    private readonly ConcurrentDictionary<GroupId, QuorumLoss> _losses = [];

    /// <summary>Null: a leader is there, or can be elected, as far as is known. Any thread.</summary>
    public QuorumLoss? LossOf(GroupId group) => _losses.GetValueOrDefault(group);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await Beat.NextAsync(Interval, time, cancellationToken);
            var leaderless = groups.Where(IsLeaderlessForLong).ToList();
            if (leaderless.Count > 0)
            {
                var answers = await AskAllAsync(cancellationToken);
                leaderless.ForEach(group => Note(group.Id, Judge(group, answers)));
            }
        }
    }

    /// <summary>What the replicas of a group have and lack at this moment; one of each node.</summary>
    public async Task<IReadOnlyList<ReplicaFacts>> LookAsync(ReplicaGroup group, CancellationToken cancellationToken) =>
        FactsOf(group, await AskAllAsync(cancellationToken));

    public string NameOf(NodeId node) =>
        directory.Nodes.FirstOrDefault(known => known.Node == node)?.Name ?? $"node {node}";

    private bool IsLeaderlessForLong(ReplicaGroup group)
    {
        if (!group.Status.Leader.IsNone)
        {
            _leaderlessSince.Remove(group.Id);
            Note(group.Id, null);
            return false;
        }

        return _leaderlessSince.TryGetValue(group.Id, out var since)
            ? time.GetElapsedTime(since) >= Patience
            : !_leaderlessSince.TryAdd(group.Id, time.GetTimestamp());
    }

    private QuorumLoss? Judge(ReplicaGroup group, Dictionary<NodeId, DescribeReplicasResponse?> answers) =>
        QuorumJudge.Judge(group.Id, FactsOf(group, answers), NameOf);

    private void Note(GroupId group, QuorumLoss? loss)
    {
        if (loss is null)
        {
            if (_losses.TryRemove(group, out _))
            {
                ClusterEvents.QuorumRegained(logger, group.Value);
            }
        }
        else if (_losses.GetValueOrDefault(group) is not { } known || known != loss)
        {
            _losses[group] = loss;
            ClusterEvents.QuorumLost(logger, loss.What);
        }
    }

    private IReadOnlyList<ReplicaFacts> FactsOf(
        ReplicaGroup group, Dictionary<NodeId, DescribeReplicasResponse?> answers) =>
    [
        .. directory.Nodes.Where(known => Holds(known.Node, group.Id)).Select(known => known.Node == options.NodeId
            ? ReplicaFacts.Of(known.Node, group.Status)
            : AnswerOf(answers.GetValueOrDefault(known.Node), group.Id) is { } wire
                ? ReplicaFacts.FromWire(known.Node, wire)
                : ReplicaFacts.Unknown(known.Node)),
    ];

    /// <summary>A dedicated controller has replicas of no other group than the first.</summary>
    private bool Holds(NodeId node, GroupId group) => group == GroupId.Metadata
        || metadata.Members.Find(node)?.Roles.VoteIn(group) != false;

    private static ReplicaDescription? AnswerOf(DescribeReplicasResponse? answer, GroupId group) =>
        answer?.Replicas.FirstOrDefault(each => each.Group == group.Value);

    private async Task<Dictionary<NodeId, DescribeReplicasResponse?>> AskAllAsync(CancellationToken cancellationToken)
    {
        var others = directory.Nodes.Select(static known => known.Node).Where(node => node != options.NodeId).ToArray();
        var answers = await Task.WhenAll(others.Select(node => AskAsync(node, cancellationToken)));
        return others.Zip(answers).ToDictionary(static pair => pair.First, static pair => pair.Second);
    }

    /// <summary>Null: it does not answer.</summary>
    private async Task<DescribeReplicasResponse?> AskAsync(NodeId node, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(AnswerTimeout);
        try
        {
            return await transport.DescribeReplicasAsync(node, patience.Token);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested
            && (e is RpcException or OperationCanceledException))
        {
            ClusterEvents.NotDescribed(logger, node.Value, e.Message);
            return null;
        }
    }
}
