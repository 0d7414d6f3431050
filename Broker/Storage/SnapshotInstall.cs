using Broker.Domain;

namespace Broker.Storage;

/// <summary>A snapshot that came from the leader, and takes the place of a replica's whole log.</summary>
/// <param name="Position">The last entry in it: the log's new base.</param>
/// <param name="Configuration">The members that hold there.</param>
/// <param name="Data">The state, as the state machine wrote it.</param>
public sealed record SnapshotInstall(
    LogPosition Position, GroupConfiguration Configuration, ReadOnlyMemory<byte> Data);
