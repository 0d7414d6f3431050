using Broker.Domain;
using Broker.Storage;

namespace Broker.Topics;

/// <summary>
/// Reads a topic from its first offset to an end, a piece at a time, and finds which records a later one of their key
/// has replaced. It holds so many keys at once; when there are more it takes them a part at a time, by how they are
/// spread, and reads the topic once for each part. One thread.
/// </summary>
internal sealed class KeyScan
{
    /// <summary>What tells of a batch that is gone, in log and index file, but for the topic's name.</summary>
    public const int StubBytes = 100;

    private readonly TopicView _topic;
    private readonly long _end;
    private readonly Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> _readEntries;
    private readonly IReadOnlyList<SealedSegment> _segments;
    private readonly KeyTable _keys;
    private readonly List<StoredRun> _runs = [];
    private long _next;

    // The keys of this pass are spread from here to below there; null: to the end.
    private ulong _from;
    private ulong? _to;

    /// <param name="topic">The topic.</param>
    /// <param name="end">The first offset that is not looked at.</param>
    /// <param name="state">How far the topic was compacted.</param>
    /// <param name="segments">What can be written anew, in the order of the log.</param>
    /// <param name="readEntries">See TopicReader.</param>
    /// <param name="mostKeys">Keys that are held at once.</param>
    /// <param name="runs">For the judgement.</param>
    public KeyScan(
        TopicView topic,
        long end,
        CompactedTo state,
        IReadOnlyList<SealedSegment> segments,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        int mostKeys = Limits.KeysPerScan,
        int runs = 0)
    {
        (_topic, _readEntries, _segments) = (topic, readEntries, segments);
        _next = topic.FirstOffset;
        _end = Math.Max(_next, Math.Min(end, _next + Limits.OffsetsPerScan));
        _keys = new KeyTable(mostKeys);
        Judgement = new KeyJudgement(state, _next, _end) { Runs = runs };
        IsDone = _next == _end;
    }

    public int Topic => _topic.Number;

    public KeyJudgement Judgement { get; }

    /// <summary>How often the topic was read: once for each part of the keys.</summary>
    public int Passes { get; private set; } = 1;

    /// <summary>There are more keys than are held at once.</summary>
    public bool HasTooManyKeys => _to is not null || Passes > 1;

    public bool IsDone { get; private set; }

    /// <summary>Reads on, about so many bytes; returns how many it has read.</summary>
    public long Advance(int maxBytes)
    {
        var wanted = new List<BatchLocation>();
        _topic.TryLocate(_next, _end, maxBytes, wanted, out var firstOffset);
        _runs.Clear();
        var taken = StoredBatches.Read(_topic.Number, wanted, maxBytes, _readEntries, _runs);
        if (taken == 0)
        {
            // A purge may have overtaken it. Else this replica cannot give all that the topic has.
            firstOffset = _topic.FirstOffset;
            Judgement.IsIncomplete = firstOffset <= _next;
            _next = Math.Max(_next, firstOffset);
        }
        else
        {
            _next = wanted[taken - 1].EndOffset;
            NoteStubs(wanted, taken);
        }

        var bytes = 0L;
        foreach (var run in _runs)
        {
            bytes += run.Where.Length;
            Take(run);
        }

        if (Judgement.IsIncomplete)
        {
            IsDone = true;
        }
        else if (_next >= _end)
        {
            EndPass();
        }

        return bytes + (taken * (long)StubBytes) + 1;
    }

    private void NoteStubs(List<BatchLocation> batches, int count)
    {
        if (Passes == 1)
        {
            Judgement.LeftBytes += count * (long)StubBytes;
            for (var i = 0; i < count; i++)
            {
                // A segment of which all is gone is one that was looked at, too.
                AddKept(SegmentOf(batches[i].LogIndex), 0, 0);
            }
        }
    }

    private void Take(in StoredRun run)
    {
        var segment = SegmentOf(run.Where.LogIndex);
        var bytes = run.Bytes.Span;
        var offset = run.Where.BaseOffset;
        if (run.IsGrave)
        {
            if (offset < _topic.FirstOffset || offset >= _end)
            {
                return; // What is left of a batch of which the rest is wanted.
            }

            Count(segment, bytes.Length);
            Note(KeyMark.Read(bytes), offset, run.Where.TimestampUnixMs, bytes.Length, segment, KeyPlaceKind.Grave);
            return;
        }

        for (var left = bytes.Length; RecordBatchScanner.TryTakeRecord(ref bytes, out var record); offset++)
        {
            var size = left - bytes.Length;
            left = bytes.Length;
            if (offset >= _end)
            {
                return;
            }

            Count(segment, size);
            var key = RecordBatchScanner.KeyOf(record, out var valueBytes, out _);
            if (!key.IsEmpty && offset >= _topic.FirstOffset)
            {
                var kind = valueBytes == 0 ? KeyPlaceKind.Marker : KeyPlaceKind.Value;
                Note(KeyMark.Of(key), offset, run.Where.TimestampUnixMs, size, segment, kind);
            }
        }
    }

    private void Count(int segment, int sizeBytes)
    {
        if (Passes == 1)
        {
            Judgement.LeftBytes += sizeBytes;
            AddKept(segment, sizeBytes, 1);
        }
    }

    private void Note(
        in KeyMark key, long offset, long timestampUnixMs, int sizeBytes, int segment, KeyPlaceKind kind)
    {
        if (!IsOfThisPass(key))
        {
            return;
        }

        while (_keys.IsFull)
        {
            // Half of what is left of this pass; what was found of the other half is found again in a later one.
            _to = _from + (((_to ?? ulong.MaxValue) - _from) / 2);
            Invariant.Check(_to > _from, "so many keys are not spread to one number");
            _keys.KeepBelow(_to.Value);
            if (!IsOfThisPass(key))
            {
                return;
            }
        }

        ref var place = ref _keys.Find(key);
        if (place.Key.IsNone)
        {
            (place.Key, place.FirstSegment) = (key, KeyPlace.Nowhere);
        }
        else if (Judgement.Replaced.Add(place.Offset))
        {
            Judgement.LeftBytes -= place.SizeBytes;
            AddKept(place.Segment, -place.SizeBytes, -1);
        }

        if (place.FirstSegment == KeyPlace.Nowhere && kind != KeyPlaceKind.Grave)
        {
            place.FirstSegment = segment;
        }

        (place.Offset, place.TimestampUnixMs, place.SizeBytes) = (offset, timestampUnixMs, sizeBytes);
        (place.Segment, place.Kind) = (segment, kind);
    }

    private bool IsOfThisPass(in KeyMark key)
    {
        var spread = key.Spread();
        return spread >= _from && (_to is null || spread < _to);
    }

    private void EndPass()
    {
        foreach (ref readonly var place in _keys.Slots)
        {
            if (place.Key.IsNone || place.Kind != KeyPlaceKind.Marker)
            {
                continue;
            }

            if (place.TimestampUnixMs > Judgement.State.MarkersMs)
            {
                Judgement.NextMarkerMs = Math.Min(Judgement.NextMarkerMs, place.TimestampUnixMs);
            }
            else if (place.Segment >= 0 && place.FirstSegment == place.Segment)
            {
                Judgement.Graves.Add(place.Offset);
                AddKept(place.Segment, -Math.Max(0, place.SizeBytes - KeyMark.Bytes), 0);
            }
            else
            {
                Judgement.HasWaitingMarkers = true;
            }
        }

        if (_to is { } next)
        {
            (_from, _to) = (next, null);
            _next = _topic.FirstOffset;
            _keys.Clear();
            Passes++;
            return;
        }

        IsDone = true;
    }

    private void AddKept(int segment, long bytes, long records)
    {
        if (segment >= 0)
        {
            var first = _segments[segment].First;
            var (keptBytes, keptRecords) = Judgement.Kept.GetValueOrDefault(first);
            Judgement.Kept[first] = (keptBytes + bytes, keptRecords + records);
        }
    }

    private int SegmentOf(LogIndex index)
    {
        var (low, high) = (0, _segments.Count - 1);
        while (low <= high)
        {
            var middle = low + ((high - low) / 2);
            if (_segments[middle].Last < index)
            {
                low = middle + 1;
            }
            else if (_segments[middle].First > index)
            {
                high = middle - 1;
            }
            else
            {
                return middle;
            }
        }

        return KeyPlace.Elsewhere;
    }
}
