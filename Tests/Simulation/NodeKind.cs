namespace Broker.Tests.Simulation;

/// <summary>What runs in a simulated node.</summary>
internal enum NodeKind
{
    /// <summary>The Raft node alone.</summary>
    Core,

    /// <summary>Raft, replication, storage and the state machine, as in production.</summary>
    Replica,
}
