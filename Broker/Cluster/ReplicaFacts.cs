using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Google.Protobuf;

namespace Broker.Cluster;

/// <summary>What is known of one replica of a group while nobody leads it.</summary>
/// <param name="Node">Whose it is.</param>
/// <param name="Answers">False: its node is away, and nothing below is known.</param>
/// <param name="Term">The latest term that it has seen.</param>
/// <param name="Leader">Who leads, as it knows; none: nobody.</param>
/// <param name="Last">The last entry of its log.</param>
/// <param name="CommitIndex">What it knows to be committed.</param>
/// <param name="Fence">What its log may have had before it lost its end; none: it lost nothing.</param>
/// <param name="IsLost">It has lost its log or its votes.</param>
/// <param name="IsPassive">It gives no votes.</param>
/// <param name="Members">The members that it knows.</param>
public sealed record ReplicaFacts(
    NodeId Node,
    bool Answers,
    Term Term,
    NodeId Leader,
    LogPosition Last,
    LogIndex CommitIndex,
    LogPosition Fence,
    bool IsLost,
    bool IsPassive,
    GroupConfiguration Members)
{
    public bool IsFenced => Fence != LogPosition.None;

    /// <summary>It has lost nothing that it knows of.</summary>
    public bool IsIntact => Answers && !IsLost && !IsPassive && !IsFenced;

    public static ReplicaFacts Unknown(NodeId node) => new(
        node,
        Answers: false,
        Term.None,
        NodeId.None,
        LogPosition.None,
        LogIndex.None,
        LogPosition.None,
        IsLost: false,
        IsPassive: false,
        GroupConfiguration.None);

    public static ReplicaFacts Of(NodeId node, GroupStatus status) => new(
        node,
        Answers: true,
        status.Term,
        status.Leader,
        new LogPosition(status.LastIndex, status.LastTerm),
        status.CommitIndex,
        status.Condition.Fence,
        status.Condition.IsLost,
        status.Condition.IsPassive,
        status.Condition.Configuration);

    internal static ReplicaDescription ToWire(GroupStatus status) => new()
    {
        Group = (uint)status.Group.Value,
        Term = status.Term.Value,
        Leader = (uint)status.Leader.Value,
        LastIndex = status.LastIndex.Value,
        LastTerm = status.LastTerm.Value,
        CommitIndex = status.CommitIndex.Value,
        FenceIndex = status.Condition.Fence.Index.Value,
        FenceTerm = status.Condition.Fence.Term.Value,
        Lost = status.Condition.IsLost,
        Passive = status.Condition.IsPassive,
        ConfigurationIndex = status.Condition.Configuration.Index.Value,
        Configuration = UnsafeByteOperations.UnsafeWrap(status.Condition.Configuration.Encode()),
    };

    internal static ReplicaFacts FromWire(NodeId node, ReplicaDescription wire) =>
        GroupConfiguration.TryDecode(
            wire.Configuration.Span, new LogIndex(wire.ConfigurationIndex), out var members)
            ? new ReplicaFacts(
                node,
                Answers: true,
                new Term(wire.Term),
                new NodeId((int)wire.Leader),
                new LogPosition(new LogIndex(wire.LastIndex), new Term(wire.LastTerm)),
                new LogIndex(wire.CommitIndex),
                new LogPosition(new LogIndex(wire.FenceIndex), new Term(wire.FenceTerm)),
                wire.Lost,
                wire.Passive,
                members)
            : Unknown(node);
}
