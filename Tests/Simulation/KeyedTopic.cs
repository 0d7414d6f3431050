using System.Text;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// Every record that a topic with keys ever got, and how far any replica has compacted it: so it knows what a reader
/// must get, what he may miss, and what he must not see.
/// </summary>
internal sealed class KeyedTopic
{
    private readonly List<(string Key, bool IsMarker, long TimestampUnixMs, long Next)> _records = [];
    private readonly Dictionary<string, int> _last = [];

    /// <summary>The farthest that any replica has come.</summary>
    public (long Through, long MarkersMs) Compacted { get; private set; }

    public void Note(long baseOffset, ReadOnlySpan<byte> batch, long timestampUnixMs)
    {
        var offset = (int)baseOffset;
        for (; RecordBatchScanner.TryTakeRecord(ref batch, out var record); offset++)
        {
            if (offset < _records.Count)
            {
                continue;
            }

            var key = Encoding.ASCII.GetString(RecordBatchScanner.KeyOf(record, out var valueBytes, out _));
            if (key.Length > 0 && _last.TryGetValue(key, out var before))
            {
                _records[before] = _records[before] with { Next = offset };
            }

            _last[key] = offset;
            _records.Add((key, key.Length > 0 && valueBytes == 0, timestampUnixMs, long.MaxValue));
        }
    }

    /// <summary>Whether that is farther than before.</summary>
    public bool NoteCompacted(long through, long markersMs)
    {
        var isNew = through > Compacted.Through || markersMs > Compacted.MarkersMs;
        Compacted = (Math.Max(through, Compacted.Through), Math.Max(markersMs, Compacted.MarkersMs));
        return isNew;
    }

    public long TimeAt(long offset) => _records[(int)offset].TimestampUnixMs;

    public string KeyAt(long offset) => _records[(int)offset].Key;

    /// <summary>Whether some replica may have taken a record out.</summary>
    public bool MayBeGone(long offset) => IsGone(offset, Compacted.Through, Compacted.MarkersMs);

    /// <summary>
    /// Whether all that replaced a record before an end may be gone. A replica that has started again is behind what it
    /// had taken out before; whoever reads there without waiting for a leader follows, and gets what comes after.
    /// </summary>
    public bool MayBeLastLeft(long offset, long end)
    {
        var next = _records[(int)offset].Next;
        if (next >= end)
        {
            return false;
        }

        for (; next < end; next = _records[(int)next].Next)
        {
            if (!MayBeGone(next))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Whether who asks for the last record of each key must get one, when the topic ends at an offset and was
    /// compacted so far where he asks.
    /// </summary>
    public bool IsWanted(long offset, long end, long through, long markersMs)
    {
        var (key, isMarker, time, next) = _records[(int)offset];
        return key.Length == 0 || (next >= end && !(isMarker && offset < through && time <= markersMs));
    }

    private bool IsGone(long offset, long through, long markersMs)
    {
        var (key, isMarker, time, next) = _records[(int)offset];
        return key.Length > 0 && offset < through && (next < through || (isMarker && time <= markersMs));
    }
}
