using Broker.Domain;

namespace Broker.Storage;

/// <summary>A state machine's state after one entry of the log.</summary>
/// <param name="Position">The last entry that the state contains.</param>
/// <param name="Configuration">The members of the group as of that entry.</param>
/// <param name="Data">The state, as its state machine wrote it.</param>
public sealed record StateSnapshot(
    LogPosition Position, GroupConfiguration Configuration, ReadOnlyMemory<byte> Data);
