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

/// <summary>
/// A sealed segment, or several that follow one another, written anew as one, piece by piece, under a temporary name;
/// <see cref="Finish"/> puts it in the place of the old ones. Each entry has the index and the term of the one that it
/// replaces, and means the same; of its body may be left what is still wanted. For one thread at a time, beside the
/// log's writer. What was not finished is discarded.
/// </summary>
public sealed class SegmentRewrite : IDisposable
{
    /// <summary>Entries that are written at once, by their bytes: as much as one message of a leader brings.</summary>
    private const int PieceBytes = Limits.AppendMessageBytes;

    private readonly GroupFolder _folder;
    private readonly SegmentSet _segments;
    private readonly SealedPositions _positions;
    private readonly IndexFiles _indexes;
    private readonly List<Segment> _old;
    private readonly string _path;
    private readonly string _temporary;
    private readonly IReadOnlyList<TermRun> _terms;
    private readonly FramePositions _frames = new();
    private readonly FrameBatch _batch = new();
    private readonly uint _seed;
    private readonly long _largestBytes;

    /// <summary>Its capacity is taken at once, and grows to what is written.</summary>
    private SegmentHeader _header;
    private IStorageFile? _file;
    private uint _crc;
    private bool _isFinished;

    internal SegmentRewrite(
        GroupFolder folder,
        SegmentSet segments,
        SealedPositions positions,
        IndexFiles indexes,
        List<Segment> old,
        in SegmentHeader header,
        string suffix,
        long largestBytes)
    {
        _folder = folder;
        _segments = segments;
        _positions = positions;
        _indexes = indexes;
        _old = old;
        _path = old[0].Path;
        _header = header;
        _temporary = _path + suffix;
        _largestBytes = largestBytes;
        _terms = segments.Terms.Between(old[0].First, old[^1].Last);
        _seed = header.Seed;
        _crc = header.PreviousCrc32C;
        _batch.Begin(_frames.EndOffset);
        Attempt(Open);
    }

    /// <summary>The last entry that is to be added.</summary>
    public LogIndex Last => _header.ReplacedLast;

    /// <summary>The next entry to be added; behind <see cref="Last"/> when there is none.</summary>
    public LogIndex Next => _header.First + _frames.Count;

    /// <summary>What the entries take in the new file.</summary>
    public long SizeBytes => _frames.EndOffset;

    /// <summary>Adds the next entry, whose body never changes.</summary>
    /// <exception cref="DiskFullException">There is no space for it.</exception>
    /// <exception cref="StorageException">It is not the segment's entry, or the disk failed.</exception>
    public void Add(LogEntry entry) => Attempt(() => AddChecked(entry));

    /// <summary>Makes the new file durable, and gives it the segment's name: readers go over to it.</summary>
    /// <exception cref="DiskFullException">There is no space; nothing changed.</exception>
    /// <exception cref="StorageException">Entries are missing, or the segment has left the log meanwhile, or the disk
    /// failed; nothing changed.</exception>
    public void Finish() => Attempt(Complete);

    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
        if (!_isFinished)
        {
            _folder.DeleteIfThere(_temporary);
        }
    }

    private void Attempt(Action step)
    {
        try
        {
            step();
        }
        catch (Exception failure) when (
            failure is (IOException and not StorageException and not DiskFullException) or UnauthorizedAccessException)
        {
            throw new StorageException($"{_path} cannot be replaced: {failure.Message}", failure);
        }
    }

    private void Open()
    {
        _folder.DeleteIfThere(_temporary);
        _file = _folder.Device.Open(_temporary, create: true);
        try
        {
            _file.Allocate(Math.Max(_header.CapacityBytes, SegmentHeader.SizeBytes));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private void AddChecked(LogEntry entry)
    {
        Check(entry);
        _crc = _batch.Add(entry, _header.First.Previous(), _header.TruncationEpoch, _crc, _seed);
        _frames.AddNext(entry.Body.Length);
        if (_batch.SizeBytes >= PieceBytes)
        {
            WriteBatch();
        }
    }

    private void WriteBatch()
    {
        if (_batch.SizeBytes > 0)
        {
            _file!.Write(_batch.From, _batch.Parts);
        }

        _batch.Begin(_batch.To);
    }

    private void Complete()
    {
        if (Next <= Last)
        {
            throw new StorageException($"The entries for {_path} end before {Next}; {Last} is the last.");
        }

        WriteBatch();
        _header = _header with { CapacityBytes = Math.Max(_header.CapacityBytes, _frames.EndOffset) };
        SegmentFile.WriteHeader(_file!, _header);
        _file!.Sync();
        _file.Dispose();
        _file = null;
        lock (_positions.Gate)
        {
            var known = new SealedMetadata(_header, Last, _header.SuccessorCrc32C, _frames.EndOffset, _terms);
            var replacement = new Segment(_path, known);
            if (!_segments.TryReplace(_old, replacement, () => _folder.Device.Rename(_temporary, _path)))
            {
                throw new StorageException($"{_path} left the log while it was replaced.");
            }

            _isFinished = true;
            _folder.Sync();
            _positions.Rewrite(known, _frames);
            if (_old.Count > 1)
            {
                DeleteMerged();
            }

            StorageEvents.SegmentReplaced(_folder.Logger, _folder.Group, _path);
        }
    }

    /// <summary>
    /// The files of the segments that are a part of the new one now. After a crash the next start goes on with it, as
    /// the new one's header names the last of them. An index file of the first alone is that of another segment, too.
    /// </summary>
    private void DeleteMerged()
    {
        foreach (var segment in _old)
        {
            _indexes.Delete(segment.First);
            if (segment.First != _header.First)
            {
                _folder.DeleteIfThere(PositionsFile.PathOf(_folder, segment.First));
                _folder.DeleteIfThere(segment.Path);
            }
        }

        _folder.Sync();
    }

    private void Check(LogEntry entry)
    {
        var next = Next;
        if (entry.Index != next || entry.Index > Last)
        {
            throw new StorageException($"Entry {entry.Index} is none for {_path}, in place of {next}.");
        }

        var term = TermOf(entry.Index);
        if (entry.Term != term)
        {
            throw new StorageException($"Entry {entry.Index} for {_path} is of term {entry.Term}, not {term}.");
        }

        var end = _frames.EndOffset + FrameHeader.FrameBytes(entry.Body.Length);
        if (!entry.BodyIsIntact() || entry.Body.Length > Limits.EntryBytes || end > _largestBytes)
        {
            throw new StorageException($"Entry {entry.Index} for {_path} is damaged.");
        }
    }

    /// <summary>None, where the segment had left the log before this began.</summary>
    private Term TermOf(LogIndex index)
    {
        var term = Term.None;
        for (var i = 0; i < _terms.Count && _terms[i].First <= index; i++)
        {
            term = _terms[i].Term;
        }

        return term;
    }
}
