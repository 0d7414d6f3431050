using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>What one Ready asks to be made durable.</summary>
internal sealed record DiskWrite(
    long Sequence, HardState? HardState, LogIndex? TruncateFrom, IReadOnlyList<Entry> Entries);
