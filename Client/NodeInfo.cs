namespace Broker.Client;

/// <summary>A node of the cluster.</summary>
/// <param name="NodeId">Its number, from 1.</param>
/// <param name="Name">Its name, e.g. "broker-1".</param>
/// <param name="Address">Base address of its gRPC endpoint. Empty: unknown.</param>
/// <param name="Connected">Whether the answering node has a live connection to it.</param>
/// <param name="ProcessId">Operating system process id; known of the answering node only. 0: unknown.</param>
public sealed record NodeInfo(int NodeId, string Name, string Address, bool Connected, int ProcessId);
