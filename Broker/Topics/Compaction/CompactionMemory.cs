using System.Collections.Concurrent;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Topics;

/// <summary>
/// What this replica has found by reading its compacted topics, so that it can take records out of its segments. No
/// part of the state: it follows from the state and the log, and is found anew after a start. Scans run in the
/// background, one at a time; what they have found is used there and asked for by the loop.
/// </summary>
internal sealed class CompactionMemory
{
    private readonly ConcurrentDictionary<int, KeyJudgement> _judgements = new();
    private KeyScan? _scan;

    /// <summary>What was found of a topic since it was compacted last; null: it was not scanned yet.</summary>
    public KeyJudgement? Find(TopicState topic) =>
        _judgements.TryGetValue(topic.Number, out var found) && found.State == topic.Compacted ? found : null;

    /// <summary>What takes records of a topic out of a segment that is written anew now; null: nothing does.</summary>
    public KeyJudgement? Use(TopicState topic)
    {
        // That of an earlier compaction is right, too.
        if (!_judgements.TryGetValue(topic.Number, out var found) || found.IsIncomplete)
        {
            return null;
        }

        found.WasUsed = true;
        return found;
    }

    /// <summary>Bytes of a topic in a segment that are kept; null: nobody has looked.</summary>
    public long? KeptBytes(TopicState topic, in IndexedRun run, int commandBytes)
    {
        if (!_judgements.TryGetValue(topic.Number, out var found) || found.IsIncomplete
            || !found.Kept.TryGetValue(run.SegmentFirst, out var kept))
        {
            return null;
        }

        // Readers look the run up by the segment's index file, so that must stay: it counts as something.
        return Math.Max(1, kept.Bytes + (Math.Min(run.Count, kept.Records) * commandBytes));
    }

    /// <summary>
    /// Reads on in the topic that is looked at, or in the next one that was compacted since it was looked at, or of
    /// which more can be written anew now. Returns the bytes read; 0: there is none.
    /// </summary>
    public long Learn(
        TopicTable topics,
        ReadIndexBody readBody,
        IReadOnlyList<SealedSegment> segments,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        int maxBytes)
    {
        _scan ??= Begin(topics, readBody, segments, readEntries);
        if (_scan is not { } scan)
        {
            return 0;
        }

        var bytes = scan.IsDone ? 1 : scan.Advance(maxBytes);
        if (scan.IsDone)
        {
            _judgements[scan.Topic] = scan.Judgement;
            _scan = null;
            MakeRoom(scan.Topic);
        }

        return bytes;
    }

    /// <summary>
    /// Delete markers may go now that wait for what was written anew. False: there are none.
    /// </summary>
    public bool TryLookAgain()
    {
        var isFound = false;
        foreach (var (topic, judgement) in _judgements)
        {
            if (judgement is { HasWaitingMarkers: true, WasUsed: true })
            {
                isFound |= _judgements.TryRemove(topic, out _);
            }
        }

        return isFound;
    }

    private KeyScan? Begin(
        TopicTable topics,
        ReadIndexBody readBody,
        IReadOnlyList<SealedSegment> segments,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries)
    {
        var numbers = new HashSet<int>();
        KeyScan? scan = null;
        foreach (var topic in topics.All)
        {
            numbers.Add(topic.Number);
            var state = topic.Compacted;
            if (scan is not null || state.Through <= topic.Parts.FirstOffset)
            {
                continue;
            }

            var runs = CountRuns(topic.Parts, state.Through, segments);
            if (!_judgements.TryGetValue(topic.Number, out var known) || known.State != state || known.Runs < runs)
            {
                scan = new KeyScan(
                    new TopicView(topic, readBody), state.Through, state, segments, readEntries, runs: runs);
            }
        }

        if (scan is null)
        {
            foreach (var gone in _judgements.Keys.Where(number => !numbers.Contains(number)).ToList())
            {
                _judgements.TryRemove(gone, out _);
            }
        }

        return scan;
    }

    private static int CountRuns(TopicParts parts, long through, IReadOnlyList<SealedSegment> segments)
    {
        var firsts = segments.Select(static segment => segment.First).ToHashSet();
        var count = 0;
        foreach (ref readonly var run in parts.Runs)
        {
            count += run.BaseOffset < through && firsts.Contains(run.SegmentFirst) ? 1 : 0;
        }

        return count;
    }

    /// <summary>Of too much some goes; those topics are scanned again when they are compacted again.</summary>
    private void MakeRoom(int newest)
    {
        var bytes = _judgements.Values.Sum(static judgement => judgement.SizeBytes);
        foreach (var (number, judgement) in _judgements)
        {
            if (bytes <= Limits.JudgementBytes)
            {
                return;
            }

            if (number != newest && !judgement.IsIncomplete)
            {
                bytes -= judgement.SizeBytes;
                _judgements[number] = judgement.Emptied();
            }
        }
    }
}
