using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Writes a sealed segment anew, with exactly its entries, as a peer has them: group, indexes and the term of the last
/// one identify them (log matching, Raft thesis 3.5). It runs beside the writer.
/// </summary>
internal sealed class SegmentReplacement(
    GroupFolder folder, StorageOptions options, VoteFile vote, SegmentSet segments, SealedPositions positions)
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
            using var rewrite = Begin(first, RepairSuffix, Find(first).Header.CapacityBytes);
            foreach (var entry in entries)
            {
                rewrite.Add(entry);
            }

            rewrite.Finish();
        }
    }

    /// <inheritdoc cref="GroupLog.RewriteSegment"/>
    public SegmentRewrite Begin(LogIndex first) => Begin(first, RewriteSuffix, capacityBytes: 0);

    private Segment Find(LogIndex first) => segments.FindSealed(first)
        ?? throw new StorageException($"Group {folder.Group} has no sealed segment that begins at {first}.");

    private SegmentRewrite Begin(LogIndex first, string suffix, long capacityBytes)
    {
        var old = Find(first);
        var header = old.Header with
        {
            Nonce = options.NewNonce(),
            TruncationEpoch = vote.Current.TruncationEpoch,
            ReplacedLast = old.Last,
            SuccessorCrc32C = old.SuccessorCrc32C,
            CapacityBytes = capacityBytes,
        };

        // What was taken out of a segment here, a peer may have whole.
        var largestBytes = Math.Max(old.Header.CapacityBytes, options.SegmentBytes + Limits.EntryBytes);
        return new SegmentRewrite(folder, segments, positions, old, header, suffix, largestBytes);
    }
}
