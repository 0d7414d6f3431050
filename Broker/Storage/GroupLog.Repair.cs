using Broker.Domain;

namespace Broker.Storage;

/// <summary>What is done about damage: sealed segments are replaced, the rest of a cut one is appended anew.</summary>
public sealed partial class GroupLog
{
    /// <summary>Entries that are written at once, by their bytes: as much as one message of a leader brings.</summary>
    private const int ChunkBytes = Limits.AppendMessageBytes;

    /// <summary>One replacement at a time; it runs beside the writer.</summary>
    private readonly Lock _replacing = new();

    /// <summary>
    /// Writes a sealed segment anew, with exactly its entries, as a peer has them: group, indexes and the term of the
    /// last one identify them (log matching, Raft thesis 3.5). From any thread but the writer's; a crash leaves the old
    /// file or the new one.
    /// </summary>
    /// <param name="first">The first index of the segment.</param>
    /// <param name="entries">Its entries in order; read once, and not kept.</param>
    /// <exception cref="DiskFullException">There is no space for the new file; nothing changed.</exception>
    /// <exception cref="StorageException">There is no such segment (any more), or the entries are not its entries, or
    /// the disk failed; nothing changed.</exception>
    public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> entries)
    {
        ThrowIfUnusable();
        lock (_replacing)
        {
            var old = _segments.FindSealed(first)
                ?? throw new StorageException($"Group {_folder.Group} has no sealed segment that begins at {first}.");
            var temporary = old.Path + GroupFolder.TemporarySuffix;
            try
            {
                Replace(old, temporary, entries);
            }
            catch (Exception failure)
            {
                DiscardReplacement(temporary);
                if (failure is (IOException and not StorageException and not DiskFullException)
                    or UnauthorizedAccessException)
                {
                    throw new StorageException($"{old.Path} cannot be replaced: {failure.Message}", failure);
                }

                throw;
            }
        }
    }

    private void Replace(Segment old, string temporary, IEnumerable<LogEntry> entries)
    {
        var header = old.Header with
        {
            Nonce = _options.NewNonce(),
            TruncationEpoch = _vote.Current.TruncationEpoch,
            ReplacedLast = old.Last,
            SuccessorCrc32C = old.SuccessorCrc32C,
        };
        var positions = WriteReplacement(old, header, temporary, entries);
        lock (_sideFiles)
        {
            var known = new SealedMetadata(
                header, old.Last, old.SuccessorCrc32C, positions.EndOffset, _runs.Between(old.First, old.Last));
            var replacement = new Segment(old.Path, known);
            if (!_segments.TryReplace(old, replacement, () => _folder.Device.Rename(temporary, old.Path)))
            {
                throw new StorageException($"{old.Path} left the log while it was replaced.");
            }

            _folder.Sync();
            RewritePositions(known, positions);
            StorageEvents.SegmentReplaced(_folder.Logger, _folder.Group, old.Path);
        }
    }

    private FramePositions WriteReplacement(
        Segment old, in SegmentHeader header, string temporary, IEnumerable<LogEntry> entries)
    {
        DiscardReplacement(temporary);
        using var file = _folder.Device.Open(temporary, create: true);
        file.Allocate(header.CapacityBytes);
        var block = new byte[SegmentHeader.SizeBytes];
        header.Encode(block);
        file.Write(0, block);
        var writer = new FrameWriter(file, header, ChunkBytes);
        foreach (var entry in entries)
        {
            CheckReplacement(old, entry, writer);
            writer.Add(entry);
        }

        if (writer.Next <= old.Last)
        {
            throw new StorageException($"The entries for {old.Path} end before {writer.Next}; {old.Last} is the last.");
        }

        writer.Flush();
        file.Sync();
        return writer.Positions;
    }

    private void CheckReplacement(Segment old, LogEntry entry, FrameWriter writer)
    {
        if (entry.Index != writer.Next || entry.Index > old.Last)
        {
            throw new StorageException($"Entry {entry.Index} is none for {old.Path}, in place of {writer.Next}.");
        }

        if (entry.Term != _runs.TermOf(entry.Index))
        {
            throw new StorageException(
                $"Entry {entry.Index} for {old.Path} is of term {entry.Term}, not {_runs.TermOf(entry.Index)}.");
        }

        var end = writer.Positions.EndOffset + FrameHeader.FrameBytes(entry.Body.Length);
        if (!entry.BodyIsIntact() || entry.Body.Length > Limits.EntryBytes || end > old.Header.CapacityBytes)
        {
            throw new StorageException($"Entry {entry.Index} for {old.Path} is damaged.");
        }
    }

    private void DiscardReplacement(string temporary)
    {
        if (_folder.Device.Exists(temporary))
        {
            _folder.Device.Delete(temporary);
        }
    }

    /// <summary>
    /// Appends what was intact of a segment that is in quarantine now. What a full disk has no room for comes from the
    /// leader later: the fence holds until then.
    /// </summary>
    private void AppendRescued(Segment source)
    {
        using var file = source.File!;
        var write = new LogWrite();
        try
        {
            for (var at = 0; at < source.Count;)
            {
                var run = RunOf(source, at);
                var entries = new LogEntry[run.Frames.Length];
                if (ReadRun(run, entries) is not null)
                {
                    break;
                }

                write.Clear();
                write.Entries.AddRange(entries);
                Write(write);
                at += entries.Length;
            }

            StorageEvents.Rescued(_folder.Logger, _folder.Group, LastIndex);
        }
        catch (DiskFullException failure)
        {
            StorageEvents.NotRescued(_folder.Logger, failure, _folder.Group, LastIndex);
        }
    }

    private static PinnedRun RunOf(Segment source, int from)
    {
        var positions = source.Positions!;
        var frames = new List<FramePosition>();
        for (var at = from; at < source.Count; at++)
        {
            if (at > from && positions[at].EndOffset - positions[from].Offset > ChunkBytes)
            {
                break;
            }

            frames.Add(positions[at]);
        }

        return new PinnedRun(source, source.File!, source.First + from, positions[from].Offset, [.. frames], Cuts: 0);
    }
}
