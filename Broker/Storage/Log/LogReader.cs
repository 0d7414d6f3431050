using Broker.Domain;

namespace Broker.Storage;

/// <summary>Reads entries of the log from its segments, in any thread, while the writer goes on.</summary>
internal sealed class LogReader(SegmentSet segments, SealedPositions positions)
{
    /// <inheritdoc cref="GroupLog.Read(LogIndex, LogIndex, int, ICollection{LogEntry}, bool)"/>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into, bool hollowToo = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(from.Value, 1);
        var count = 0;
        var bytesLeft = (long)maxBytes;
        while (TryPin(from, to, bytesLeft, takeFirst: count == 0, hollowToo, out var run))
        {
            var entries = new LogEntry[run.Frames.Length];
            FileDamage? damage;
            bool isUncut;
            try
            {
                damage = run.Read(entries);
            }
            finally
            {
                isUncut = segments.Unpin(run);
            }

            if (!isUncut)
            {
                // A truncation or a repair came between: the bytes may be those of other entries by now, or damage that
                // is mended. Look the position up again.
                continue;
            }

            if (damage is { } found)
            {
                throw segments.Damaged(run.Segment, found.Offset, found.Expected, found.Cause);
            }

            foreach (var entry in entries)
            {
                into.Add(entry);
                bytesLeft -= entry.SizeBytes;
            }

            count += entries.Length;
            from += entries.Length;
        }

        return count;
    }

    private bool TryPin(
        LogIndex from, LogIndex to, long maxBytes, bool takeFirst, bool hollowToo, out PinnedRun run)
    {
        while (true)
        {
            Segment? unloaded;
            try
            {
                if (segments.TryPin(from, to, maxBytes, takeFirst, out run, out unloaded, hollowToo))
                {
                    return true;
                }
            }
            catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
            {
                throw segments.Damaged(segments.Containing(from), 0, "the file", missing);
            }

            if (unloaded is null)
            {
                return false;
            }

            positions.Load(unloaded);
        }
    }
}
