namespace Broker.Transport;

/// <summary>What became of a snapshot that arrived, and the term of this replica then.</summary>
internal readonly record struct SnapshotOutcome(bool IsIntact, bool Installed, long Term);
