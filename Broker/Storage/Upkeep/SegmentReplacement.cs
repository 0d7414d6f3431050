using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Writes a sealed segment anew, with exactly its entries, as a peer has them: group, indexes and the term of the last
/// one identify them (log matching, Raft thesis 3.5). It runs beside the writer.
/// </summary>
internal sealed class SegmentReplacement(
    GroupFolder folder, StorageOptions options, VoteFile vote, SegmentSet segments, SealedPositions positions)
{
    /// <summary>Entries that are written at once, by their bytes: as much as one message of a leader brings.</summary>
    private const int PieceBytes = Limits.AppendMessageBytes;

    /// <summary>One replacement at a time.</summary>
    private readonly Lock _gate = new();

    /// <inheritdoc cref="GroupLog.ReplaceSegment"/>
    public void Replace(LogIndex first, IEnumerable<LogEntry> entries)
    {
        lock (_gate)
        {
            var old = segments.FindSealed(first)
                ?? throw new StorageException($"Group {folder.Group} has no sealed segment that begins at {first}.");
            var temporary = old.Path + GroupFolder.TemporarySuffix;
            try
            {
                Replace(old, temporary, entries);
            }
            catch (Exception failure)
            {
                folder.DeleteIfThere(temporary);
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
            Nonce = options.NewNonce(),
            TruncationEpoch = vote.Current.TruncationEpoch,
            ReplacedLast = old.Last,
            SuccessorCrc32C = old.SuccessorCrc32C,
        };
        var written = Write(old, header, temporary, entries);
        lock (positions.Gate)
        {
            var known = segments.MetadataOf(old) with { Header = header, TailOffset = written.EndOffset };
            var replacement = new Segment(old.Path, known);
            if (!segments.TryReplace(old, replacement, () => folder.Device.Rename(temporary, old.Path)))
            {
                throw new StorageException($"{old.Path} left the log while it was replaced.");
            }

            folder.Sync();
            positions.Rewrite(known, written);
            StorageEvents.SegmentReplaced(folder.Logger, folder.Group, old.Path);
        }
    }

    /// <summary>Makes the new file durable under its temporary name; returns where its frames lie.</summary>
    private FramePositions Write(
        Segment old, in SegmentHeader header, string temporary, IEnumerable<LogEntry> entries)
    {
        folder.DeleteIfThere(temporary);
        using var file = folder.Device.Open(temporary, create: true);
        SegmentFile.Begin(file, header);
        var frames = new FramePositions();
        var batch = new FrameBatch();
        batch.Begin(frames.EndOffset);
        var seed = FrameHeader.SeedOf(header.Nonce);
        var crc = header.PreviousCrc32C;
        foreach (var entry in entries)
        {
            Check(old, entry, old.First + frames.Count, frames.EndOffset);
            crc = batch.Add(entry, header.First.Previous(), header.TruncationEpoch, crc, seed);
            frames.AddNext(entry.Body.Length);
            if (batch.SizeBytes >= PieceBytes)
            {
                file.Write(batch.From, batch.Parts);
                batch.Begin(batch.To);
            }
        }

        var next = old.First + frames.Count;
        if (next <= old.Last)
        {
            throw new StorageException($"The entries for {old.Path} end before {next}; {old.Last} is the last.");
        }

        if (batch.SizeBytes > 0)
        {
            file.Write(batch.From, batch.Parts);
        }

        file.Sync();
        return frames;
    }

    private void Check(Segment old, LogEntry entry, LogIndex next, long offset)
    {
        if (entry.Index != next || entry.Index > old.Last)
        {
            throw new StorageException($"Entry {entry.Index} is none for {old.Path}, in place of {next}.");
        }

        var term = segments.Terms.TermOf(entry.Index);
        if (entry.Term != term)
        {
            throw new StorageException($"Entry {entry.Index} for {old.Path} is of term {entry.Term}, not {term}.");
        }

        var end = offset + FrameHeader.FrameBytes(entry.Body.Length);
        if (!entry.BodyIsIntact() || entry.Body.Length > Limits.EntryBytes || end > old.Header.CapacityBytes)
        {
            throw new StorageException($"Entry {entry.Index} for {old.Path} is damaged.");
        }
    }
}
