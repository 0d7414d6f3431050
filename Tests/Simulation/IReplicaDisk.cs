using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>What one Ready asks to be made durable.</summary>
internal sealed record DiskWrite(
    long Sequence, HardState? HardState, LogIndex? TruncateFrom, IReadOnlyList<Entry> Entries);

/// <summary>A replica's disk: what is on it survives crashes.</summary>
internal interface IReplicaDisk
{
    /// <summary>What a reader of the disk would find at this moment.</summary>
    HardState HardState { get; }

    IReadOnlyList<Entry> Entries { get; }

    /// <summary>Durable when it returns.</summary>
    void Write(DiskWrite write);

    /// <summary>
    /// The machine stops in the middle of a write: any part that the order of writing allows remains.
    /// </summary>
    void Tear(DiskWrite write, Random random);

    /// <summary>The process starts again: recover.</summary>
    void Reopen();
}
