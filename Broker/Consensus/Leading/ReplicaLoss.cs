using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What a leader knows of a replica that lost its log. A configuration that makes it a learner anew counts only when
/// it was appended after the loss was heard of: an older one does not cover what the replica has acknowledged since.
/// </summary>
internal sealed class ReplicaLoss(NodeId node, long number, LogIndex heardAt)
{
    public NodeId Node { get; } = node;

    /// <summary>Drawn by the replica, so that another loss of the same replica is told from this one.</summary>
    public long Number { get; } = number;

    /// <summary>The leader's last entry when it heard of the loss.</summary>
    public LogIndex HeardAt { get; } = heardAt;

    /// <summary>The replica has accepted that it is a learner anew; a late report of this loss means nothing.</summary>
    public bool IsOver { get; set; }
}
