namespace Broker.Client;

/// <summary>How far a node is in or out of the cluster.</summary>
public enum NodeStatus
{
    /// <summary>Not known yet: the cluster has not formed.</summary>
    Unknown = 0,

    /// <summary>It is being made a member of one shard after another.</summary>
    Joining = 1,

    /// <summary>It votes in every shard that is its roles'.</summary>
    Member = 2,

    /// <summary>It is being taken out of one shard after another.</summary>
    Leaving = 3,

    /// <summary>It was silent for too long, and is being taken out of one shard after another.</summary>
    Evicting = 5,

    /// <summary>It was evicted, and becomes a member again by itself when it is back.</summary>
    Evicted = 6,
}

/// <summary>A node of the cluster.</summary>
/// <param name="NodeId">Its number, from 1.</param>
/// <param name="Name">Its name, e.g. "broker-1".</param>
/// <param name="Address">Base address of its gRPC endpoint. Empty: unknown.</param>
/// <param name="Connected">Whether the answering node has a live connection to it.</param>
/// <param name="ProcessId">Operating system process id; known of the answering node only. 0: unknown.</param>
public sealed record NodeInfo(int NodeId, string Name, string Address, bool Connected, int ProcessId)
{
    /// <summary>How far it is in or out.</summary>
    public NodeStatus State { get; init; }

    /// <summary>It is to lead nothing, until it is told otherwise.</summary>
    public bool Draining { get; init; }

    /// <summary>
    /// It votes in the cluster's metadata (Broker__Roles). True also when the cluster has not formed yet, or its
    /// brokers know no roles.
    /// </summary>
    public bool IsController { get; init; } = true;

    /// <summary>
    /// It holds topics, or as above. A node that does not passes calls about them on to one that does.
    /// </summary>
    public bool HoldsTopics { get; init; } = true;
}
