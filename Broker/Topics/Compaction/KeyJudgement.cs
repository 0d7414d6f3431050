using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// What this replica has found of a topic's keys: which records may be taken out, by what the replicated state says is
/// compacted. It stays right for ever: what is gone by one compaction is gone by every later one.
/// </summary>
internal sealed class KeyJudgement(CompactedTo state, long first, long end)
{
    /// <summary>By which compaction.</summary>
    public CompactedTo State => state;

    /// <summary>Records that a later one of their key has replaced.</summary>
    public OffsetSet Replaced { get; } = new(first, end);

    /// <summary>
    /// Delete markers whose time is over and whose key has no older record left, but for such as lie in the segment of
    /// the marker: they go together. The mark of the key stays, so that an older record which comes back to this
    /// replica (with a segment from a peer that still has it) is known to be deleted.
    /// </summary>
    public OffsetSet Graves { get; } = new(first, end);

    /// <summary>Of the segments that were looked at, by their first entries, what is kept.</summary>
    public Dictionary<LogIndex, (long Bytes, long Records)> Kept { get; } = [];

    /// <summary>How many of the topic's runs could be written anew.</summary>
    public int Runs { get; init; }

    /// <summary>Bytes that the topic still has of what is compacted, and what tells of the rest.</summary>
    public long LeftBytes { get; set; }

    /// <summary>The time of the oldest delete marker that is still to go by its time.</summary>
    public long NextMarkerMs { get; set; } = long.MaxValue;

    /// <summary>Some markers wait until older records of their keys have gone from other segments.</summary>
    public bool HasWaitingMarkers { get; set; }

    /// <summary>A segment was written anew by it.</summary>
    public bool WasUsed { get; set; }

    /// <summary>The log could not be read to the end: nothing is taken out by it.</summary>
    public bool IsIncomplete { get; set; }

    public long SizeBytes => Replaced.SizeBytes + Graves.SizeBytes;

    /// <summary>The same without what takes room: nothing is taken out by it any more.</summary>
    public KeyJudgement Emptied() => new(state, 0, 0)
    {
        Runs = Runs,
        LeftBytes = LeftBytes,
        NextMarkerMs = NextMarkerMs,
        IsIncomplete = true,
    };

    /// <summary>Whether any of so many records may go, or one that went already.</summary>
    public bool TakesAny(long offset, int count)
    {
        for (var end = offset + count; offset < end; offset++)
        {
            if (Replaced.Contains(offset) || Graves.Contains(offset))
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>
/// How far a topic was compacted, by its shard's log. Of records with a key before an offset only the last of each key
/// is left; and when that is a delete marker, only if it is younger than a time. Both only grow.
/// </summary>
/// <param name="Through">The first offset that was left alone.</param>
/// <param name="MarkersMs">Delete markers with this time or an older one are gone.</param>
internal sealed record CompactedTo(long Through, long MarkersMs)
{
    public static readonly CompactedTo Nothing = new(0, 0);
}
