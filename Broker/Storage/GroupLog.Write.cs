using System.Numerics;
using Broker.Domain;

namespace Broker.Storage;

public sealed partial class GroupLog
{
    private static readonly byte[] Zeros = new byte[1024 * 1024];

    private readonly List<ReadOnlyMemory<byte>> _parts = [];
    private readonly List<FramePosition> _staged = [];
    private byte[] _headers = [];
    private long _stagedFrom;
    private long _stagedTo;

    /// <summary>
    /// Hard state with configurations and fence, snapshot, truncation, drop, entries, in this order; all durable when
    /// it returns. Called by one thread at a time. A crash meanwhile leaves a legal state: each step done, or not, or
    /// the entries up to some point.
    /// </summary>
    /// <exception cref="DiskFullException">No entry and no snapshot of the write was kept; the rest was.</exception>
    /// <exception cref="StorageException">The disk failed: the process must exit.</exception>
    public void Write(LogWrite write)
    {
        ThrowIfUnusable();
        DiskFullException? full;
        try
        {
            CheckOrder(write);
            full = TryWrite(write);
        }
        catch (Exception failure)
        {
            _failure = failure;
            StorageEvents.Failed(_folder.Logger, failure, _folder.Group);
            if (failure is (IOException and not StorageException) or UnauthorizedAccessException)
            {
                throw new StorageException($"A write to {_folder.FullPath} failed: {failure.Message}", failure);
            }

            throw;
        }

        if (full is not null)
        {
            StorageEvents.DiskFull(_folder.Logger, full, _folder.Group, LastIndex);
            throw new DiskFullException(full.Message, full);
        }
    }

    private DiskFullException? TryWrite(LogWrite write)
    {
        if (write.Snapshot is { } install)
        {
            if (TryInstall(install, write) is { } full)
            {
                return full;
            }
        }
        else if (write.TruncateFrom is { } from && from <= LastIndex)
        {
            Truncate(from, write);
        }
        else if (Changed(write) is var changed && changed != _vote.Current)
        {
            // The vote is durable before the entries: a log never holds a term that the hard state has not reached.
            _vote.Write(changed);
        }

        if (write.DropThrough is { } dropped)
        {
            Drop(dropped);
        }

        return write.Entries.Count == 0 ? null : TryAppend(write.Entries);
    }

    private VoteRecord Changed(LogWrite write)
    {
        var current = _vote.Current;
        return write.HardState is null && write.Configuration is null && write.PreviousConfiguration is null
            && write.Fence is null && !write.RaisesFloor
            ? current
            : current with
            {
                HardState = write.HardState ?? current.HardState,
                Configuration = write.Configuration ?? current.Configuration,
                PreviousConfiguration = write.Configuration is null && write.PreviousConfiguration is null
                    ? current.PreviousConfiguration
                    : write.PreviousConfiguration,
                Fence = write.Fence ?? current.Fence,
                DurableFloor = LastIndex,
            };
    }

    private void CheckOrder(LogWrite write)
    {
        var first = write.Snapshot?.Position.Index.Next() ?? FirstIndex;
        var end = write.Snapshot is null ? LastIndex.Next() : first;
        Invariant.Check(first >= FirstIndex, "a snapshot does not lead behind the base");
        Invariant.Check(
            write.TruncateFrom is null || write.TruncateFrom >= first, "a truncation begins within the log");
        var expected = write.TruncateFrom is { } from ? LogIndex.Min(from, end) : end;
        foreach (var entry in write.Entries)
        {
            Invariant.Check(entry.Index == expected, "appended entries follow the log without a gap");
            Invariant.Check(entry.Body.Length <= Limits.EntryBytes, "an entry is within its limit");
            expected = expected.Next();
        }
    }

    /// <summary>Appends and flushes; on a full disk cuts back to the previous end and returns why.</summary>
    private DiskFullException? TryAppend(List<LogEntry> entries)
    {
        var before = LastIndex;
        try
        {
            Append(entries);
        }
        catch (DiskFullException full)
        {
            ClearStaged();
            _runs.CutFrom(before.Next());
            if (_segments.Active is not null)
            {
                Truncate(before.Next(), write: null);
            }

            return full;
        }

        _durable = entries[^1].Index;
        _segments.Publish(_durable);
        return null;
    }

    private void Append(List<LogEntry> entries)
    {
        ClearStaged();
        var headerBytes = entries.Count * FrameHeader.SizeBytes;
        if (_headers.Length < headerBytes)
        {
            _headers = new byte[BitOperations.RoundUpToPowerOf2((uint)headerBytes)];
        }

        for (var i = 0; i < entries.Count; i++)
        {
            var entry = entries[i];
            var frameBytes = FrameHeader.FrameBytes(entry.Body.Length);
            if (_segments.Active is not { } active || _stagedTo + frameBytes > active.Header.CapacityBytes)
            {
                WriteStaged();
                Roll(entry.Index, frameBytes);
            }

            Stage(entry, _headers.AsMemory(i * FrameHeader.SizeBytes, FrameHeader.SizeBytes), frameBytes);
        }

        WriteStaged();
        _activeFile!.Sync();
    }

    private void ClearStaged()
    {
        _parts.Clear();
        _staged.Clear();
        _stagedFrom = _stagedTo = _segments.Active?.TailOffset ?? 0;
    }

    private void Stage(LogEntry entry, Memory<byte> header, int frameBytes)
    {
        var frame = new FrameHeader(
            entry.Body.Length,
            entry.BodyCrc32C,
            entry.Term,
            entry.Index,
            entry.TimestampUnixMs,
            _durable,
            _vote.Current.TruncationEpoch,
            entry.Count,
            entry.Kind,
            _lastCrc32C);
        _lastCrc32C = frame.Encode(header.Span, _segments.Active!.Seed);
        _runs.Append(entry.Index, entry.Term);
        _staged.Add(new FramePosition(_stagedTo, entry.Body.Length));
        _parts.Add(header);
        if (entry.Body.Length > 0)
        {
            _parts.Add(entry.Body);
        }

        var padding = frameBytes - entry.SizeBytes;
        if (padding > 0)
        {
            _parts.Add(Zeros.AsMemory(0, padding));
        }

        _stagedTo += frameBytes;
    }

    private void WriteStaged()
    {
        if (_staged.Count == 0)
        {
            return;
        }

        var active = _segments.Active!;
        var written = _stagedTo + StageZeros(active);
        active.DirtyToOffset = _stagedTo;
        _activeFile!.Write(_stagedFrom, _parts);
        active.WrittenToOffset = Math.Max(active.WrittenToOffset, written);
        _segments.Append(_staged);
        ClearStaged();
    }

    /// <summary>See <see cref="StorageOptions.ZeroAheadBytes"/>.</summary>
    private long StageZeros(Segment active)
    {
        if (_stagedTo <= active.WrittenToOffset || _stagedTo - _stagedFrom > _options.ZeroAheadBytes / 2)
        {
            return 0;
        }

        var zeros = Math.Min(_options.ZeroAheadBytes, active.Header.CapacityBytes - _stagedTo);
        for (var left = zeros; left > 0; left -= Zeros.Length)
        {
            _parts.Add(Zeros.AsMemory(0, (int)Math.Min(Zeros.Length, left)));
        }

        return zeros;
    }
}
