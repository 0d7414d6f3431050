using Broker.Domain;

namespace Broker.Consensus;

/// <summary>The answer to <see cref="RaftNode.TryReadIndex"/>.</summary>
/// <param name="Context">What the caller gave.</param>
/// <param name="Index">A state machine that has applied this far shows every write that was acknowledged before the
/// read began (Raft thesis 6.4).</param>
/// <param name="Refused">The replica lost its leadership before it was confirmed: ask the next leader.</param>
public readonly record struct ReadResult(long Context, LogIndex Index, bool Refused);
