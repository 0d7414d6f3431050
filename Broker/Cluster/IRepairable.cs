using Broker.Domain;

namespace Broker.Cluster;

/// <summary>A group's log, as far as repairing it goes.</summary>
internal interface IRepairable
{
    GroupId Group { get; }

    /// <summary>The sealed segments whose file is known to be bad. Any thread; a copy.</summary>
    IReadOnlyList<DamagedSegment> DamagedSegments { get; }

    /// <summary>
    /// Writes the segment that begins at an index anew, with exactly these entries, and clears its mark.
    /// </summary>
    /// <exception cref="IOException">They are not the entries that the log had there, or the disk fails. Nothing has
    /// changed.</exception>
    void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> entries);
}
