using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Reads the files that nobody reads (sealed segments, their side files, snapshots) in the background, slowly, so that
/// damage is found and repaired from the peers while these still have the same entries. What it finds is taken note of
/// by the file's owner (<see cref="IScrubbed"/>). For one caller at a time.
/// <para>It reads through the page cache: of a file that was read a moment ago it sees the cache, not the disk.</para>
/// </summary>
public sealed class Scrubber
{
    private readonly Func<IReadOnlyList<IScrubbed>> _logs;
    private readonly ScrubberOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    /// <summary>What the present pass checks. The files may be gone by the time that they are reached.</summary>
    private readonly List<(IScrubbed Log, ScrubItem Item)> _items = [];
    private int _first;
    private int _done;
    private long _cursor;
    private long _passBytes;
    private int _passDamaged;
    private long? _passBeganAt;

    /// <summary>No piece is read before the one before it has been paid for.</summary>
    private TimeSpan _pause;
    private long _pieceReadAt;

    /// <param name="logs">The groups of the node; asked at the beginning of each pass.</param>
    /// <param name="options">How fast, how often.</param>
    /// <param name="time">The clock and the timers.</param>
    /// <param name="logger">Hears of damage, and of the end of each pass.</param>
    public Scrubber(Func<IReadOnlyList<IScrubbed>> logs, ScrubberOptions options, TimeProvider time, ILogger logger)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.RateBytesPerSecond, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PieceBytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Interval, TimeSpan.FromSeconds(1));
        _logs = logs;
        _options = options;
        _time = time;
        _logger = logger;
        _pieceReadAt = time.GetTimestamp();
    }

    /// <summary>Passes over all files that were completed.</summary>
    public long Passes { get; private set; }

    /// <summary>Bytes that were read and checked.</summary>
    public long VerifiedBytes { get; private set; }

    /// <summary>Files in which damage was found.</summary>
    public long DamagedFiles { get; private set; }

    /// <summary>Checks until it is cancelled, on threads of the pool.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // The caller's start of the node goes on.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var wait = Step();
            if (wait > TimeSpan.Zero)
            {
                await Task.Delay(wait, _time, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Checks the next piece if it is time for it; returns how long to wait before the next call. A call before that
    /// does nothing.
    /// </summary>
    public TimeSpan Step()
    {
        var early = _pause - _time.GetElapsedTime(_pieceReadAt);
        if (early > TimeSpan.Zero)
        {
            return early;
        }

        if (_done == _items.Count && !TryBeginPass())
        {
            return _pause;
        }

        var bytes = _items.Count == 0 ? 0 : CheckPiece();
        if (_done == _items.Count)
        {
            EndPass();
        }

        return Pause(TimeSpan.FromSeconds((double)bytes / _options.RateBytesPerSecond));
    }

    private TimeSpan Pause(TimeSpan pause)
    {
        _pieceReadAt = _time.GetTimestamp();
        _pause = pause;
        return pause;
    }

    private bool TryBeginPass()
    {
        if (_passBeganAt is { } began)
        {
            var left = _options.Interval - _time.GetElapsedTime(began);
            if (left > TimeSpan.Zero)
            {
                Pause(left);
                return false;
            }
        }

        _passBeganAt = _time.GetTimestamp();
        _items.Clear();
        foreach (var log in _logs())
        {
            AddItems(log);
        }

        _first = _items.Count == 0 ? 0 : _options.ChooseFirst(_items.Count);
        _done = 0;
        _cursor = 0;
        _passBytes = 0;
        _passDamaged = 0;
        return true;
    }

    private void AddItems(IScrubbed log)
    {
        try
        {
            foreach (var item in log.ScrubItems())
            {
                _items.Add((log, item));
            }
        }
        catch (Exception failure) when (IsOfOneLog(failure))
        {
            StorageEvents.ScrubLogFailed(_logger, failure, log.Group);
        }
    }

    /// <summary>A file or log that cannot be read now, or is closed, has its turn again in the next pass.</summary>
    private static bool IsOfOneLog(Exception failure) =>
        failure is IOException or UnauthorizedAccessException or ObjectDisposedException;

    private void EndPass()
    {
        Passes++;
        StorageEvents.ScrubPassed(
            _logger, _items.Count, _passBytes, _time.GetElapsedTime(_passBeganAt!.Value), _passDamaged);
        _items.Clear();
        _done = 0;
    }

    private int CheckPiece()
    {
        var (log, item) = _items[(_first + _done) % _items.Count];
        var piece = ScrubPiece.Nothing;
        try
        {
            piece = log.Verify(item, _cursor, _options.PieceBytes);
        }
        catch (Exception failure) when (IsOfOneLog(failure))
        {
            StorageEvents.ScrubFailed(_logger, failure, log.Group, item.Kind, item.First);
        }

        if (!piece.IsIntact)
        {
            StorageEvents.ScrubFoundDamage(_logger, log.Group, item.Kind, item.First);
            DamagedFiles++;
            _passDamaged++;
        }

        _cursor = piece.IsLast ? 0 : piece.Next;
        _done += piece.IsLast ? 1 : 0;
        VerifiedBytes += piece.Bytes;
        _passBytes += piece.Bytes;
        return piece.Bytes;
    }
}

/// <summary>How hard <see cref="Scrubber"/> looks for damage in files at rest.</summary>
public sealed record ScrubberOptions
{
    /// <summary>
    /// The most that is read in a second. The default checks 690 GB a day, and is a twentieth of what a slow disk
    /// (150 MB/s) gives to reads in order.
    /// </summary>
    public int RateBytesPerSecond { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// From the beginning of one pass over all files to that of the next. A day: the chance that a second replica of
    /// the same entries decays before the first one is repaired stays small, and disks are not kept busy. A pass that
    /// takes longer is followed by the next one at once.
    /// </summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromHours(24);

    /// <summary>The most that is read at once: a short burst that no flush notices (about 1 ms).</summary>
    public int PieceBytes { get; init; } = 256 * 1024;

    /// <summary>
    /// Draws the file that a pass begins with, below the number of files; a simulation passes its seeded source. A node
    /// that is restarted before each pass is over so checks all of its files sooner or later.
    /// </summary>
    public Func<int, int> ChooseFirst { get; init; } = Random.Shared.Next;
}

/// <summary>A log's files at rest, as <see cref="Scrubber"/> checks them, piece by piece.</summary>
internal sealed class LogScrub(
    GroupFolder folder,
    SegmentSet segments,
    SealedPositions positions,
    LogReader reader,
    SnapshotFiles snapshots,
    IndexFiles indexes)
{
    /// <inheritdoc cref="IScrubbed.ScrubItems"/>
    public IReadOnlyList<ScrubItem> Items()
    {
        var items = new List<ScrubItem>();
        foreach (var segment in segments.Sealed())
        {
            if (!segment.IsDamaged)
            {
                items.Add(new ScrubItem(ScrubKind.Segment, segment.First));
                items.Add(new ScrubItem(ScrubKind.Positions, segment.First));
            }
        }

        foreach (var first in indexes.List())
        {
            if (!indexes.IsDamaged(first))
            {
                items.Add(new ScrubItem(ScrubKind.Index, first));
            }
        }

        items.AddRange(snapshots.List().Select(static index => new ScrubItem(ScrubKind.Snapshot, index)));
        return items;
    }

    /// <inheritdoc cref="IScrubbed.Verify"/>
    public ScrubPiece Verify(ScrubItem item, long cursor, int maxBytes) => item.Kind switch
    {
        ScrubKind.Segment => VerifySegment(item.First, cursor, maxBytes),
        ScrubKind.Positions => positions.Verify(item.First),
        ScrubKind.Index => indexes.Verify(item.First, cursor, maxBytes),
        _ => snapshots.Verify(item.First, cursor, maxBytes),
    };

    /// <summary>
    /// The cursor counts entries. The header and the file's length are looked at with the first ones.
    /// </summary>
    private ScrubPiece VerifySegment(LogIndex first, long cursor, int maxBytes)
    {
        if (segments.FindSealed(first) is not { } segment)
        {
            return ScrubPiece.Nothing;
        }

        var headerBytes = cursor == 0 ? SegmentHeader.SizeBytes : 0;
        if (cursor == 0 && !HasSoundHeader(segment))
        {
            return ScrubPiece.Damaged(headerBytes);
        }

        if (first + cursor <= segment.HollowThrough)
        {
            // Nobody reads these; what is behind them comes next.
            var behind = segment.HollowThrough - first + 1;
            return new ScrubPiece(behind < segment.Count ? behind : ScrubPiece.End, headerBytes, IsIntact: true);
        }

        var entries = new List<LogEntry>();
        try
        {
            var count = reader.Read(first + cursor, segment.Last, maxBytes, entries);
            var next = count == 0 || first + (cursor + count) > segment.Last ? ScrubPiece.End : cursor + count;
            return new ScrubPiece(next, headerBytes + entries.Sum(static entry => entry.SizeBytes), IsIntact: true);
        }
        catch (StorageCorruptException)
        {
            // Marked and logged already.
            return ScrubPiece.Damaged(headerBytes + maxBytes);
        }
    }

    private bool HasSoundHeader(Segment segment)
    {
        lock (positions.Gate)
        {
            if (segment.IsRemoved || !segment.IsSealed)
            {
                return true;
            }

            var state = SegmentFile.Inspect(folder, segment.Path, out var header);
            if (state == SegmentFileState.Sound && header.Nonce == segment.Header.Nonce)
            {
                return true;
            }

            _ = segments.Damaged(segment, 0, "the segment's header, and its length");
            return false;
        }
    }
}
