using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Writes a sealed segment anew, with exactly its entries, as a peer has them: group, indexes and the term of the last
/// one identify them (log matching, Raft thesis 3.5). It runs beside the writer.
/// </summary>
internal sealed class SegmentReplacement(
    GroupFolder folder, StorageOptions options, VoteFile vote, SegmentSet segments, SealedPositions positions,
    IndexFiles indexes, LogReader reader)
{
    private const string RepairSuffix = GroupFolder.TemporarySuffix;

    /// <summary>A segment may be mended while it is rewritten: each has a file of its own.</summary>
    private const string RewriteSuffix = ".new" + GroupFolder.TemporarySuffix;

    /// <summary>One replacement at a time.</summary>
    private readonly Lock _gate = new();

    /// <inheritdoc cref="GroupLog.ReplaceSegment"/>
    public void Replace(LogIndex first, IEnumerable<LogEntry> entries)
    {
        lock (_gate)
        {
            List<Segment> old = [Find(first)];
            using var rest = entries.GetEnumerator();
            var hasNext = rest.MoveNext();
            var hollowThrough = hasNext && rest.Current.Index > first && old[0].HollowThrough == old[0].Last
                ? rest.Current.Index.Previous()
                : LogIndex.None;
            using var rewrite = Begin(old, RepairSuffix, old[0].Header.CapacityBytes, hollowThrough);
            AddHollow(rewrite, hollowThrough);
            for (; hasNext; hasNext = rest.MoveNext())
            {
                rewrite.Add(rest.Current);
            }

            rewrite.Finish();
        }
    }

    private void AddHollow(SegmentRewrite rewrite, LogIndex through)
    {
        var hollow = new List<LogEntry>();
        while (rewrite.Next <= through)
        {
            hollow.Clear();
            if (reader.Read(rewrite.Next, through, Limits.AppendMessageBytes, hollow, hollowToo: true) == 0)
            {
                throw new StorageException($"Entry {rewrite.Next} has left the log of group {folder.Group}.");
            }

            hollow.ForEach(rewrite.Add);
        }
    }

    /// <inheritdoc cref="GroupLog.RewriteSegments"/>
    public SegmentRewrite Begin(LogIndex first, LogIndex last) =>
        Begin(segments.FindSealed(first, last), RewriteSuffix, capacityBytes: 0, LogIndex.None);

    /// <inheritdoc cref="GroupLog.HollowSegment"/>
    public SegmentRewrite BeginHollow(LogIndex first)
    {
        var segment = Find(first);
        return Begin([segment], RewriteSuffix, capacityBytes: 0, segment.Last);
    }

    private Segment Find(LogIndex first) => segments.FindSealed(first)
        ?? throw new StorageException($"Group {folder.Group} has no sealed segment that begins at {first}.");

    private SegmentRewrite Begin(List<Segment> old, string suffix, long capacityBytes, LogIndex hollowThrough)
    {
        if (old.Count == 0)
        {
            throw new StorageException($"Group {folder.Group} has no such sealed segments.");
        }

        var header = old[0].Header with
        {
            Nonce = options.NewNonce(),
            TruncationEpoch = vote.Current.TruncationEpoch,
            ReplacedLast = old[^1].Last,
            SuccessorCrc32C = old[^1].SuccessorCrc32C,
            CapacityBytes = capacityBytes,
            MergedLast = old.Count > 1 ? old[^1].Last : LogIndex.None,
            HollowThrough = hollowThrough,
        };

        // What was taken out of a segment here, a peer may have whole.
        var largestBytes = Math.Max(old[0].Header.CapacityBytes, options.SegmentBytes + Limits.EntryBytes);
        return new SegmentRewrite(folder, segments, positions, indexes, old, header, suffix, largestBytes);
    }
}
