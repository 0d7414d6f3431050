using System.Text;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One Raft group's log and hard state on disk. One thread at a time writes; any thread reads at the same time. When
/// <see cref="Write"/> returns, everything in it is durable. The format is described at <see cref="SegmentHeader"/>,
/// <see cref="FrameHeader"/>, <see cref="VoteRecord"/> and <see cref="PositionsFile"/>, the rules of recovery in
/// README.md beside this file.
/// </summary>
public sealed class GroupLog : IScrubbed, IDisposable
{
    private readonly GroupFolder _folder;
    private readonly StorageOptions _options;
    private readonly VoteFile _vote;
    private readonly SegmentSet _segments;
    private readonly LogTail _tail;
    private readonly WriteSteps _steps;
    private readonly LogReader _reader;
    private readonly SegmentReplacement _replacement;
    private readonly LogScrub _scrub;
    private volatile Exception? _failure;
    private readonly Lock _auditing = new();
    private volatile bool _disposed;

    private GroupLog(GroupFolder folder, StorageOptions options, SnapshotFiles snapshots, RecoveredLog recovered)
    {
        _folder = folder;
        _options = options;
        _vote = recovered.Vote;
        _segments = recovered.Segments;
        Doubt = recovered.Doubt;
        Snapshots = snapshots;
        Indexes = new IndexFiles(folder);
        var positions = new SealedPositions(folder, _vote, _segments);
        _tail = new LogTail(folder, options, _vote, _segments, positions, recovered.LastCrc32C);
        var bounds = new LogBounds(folder, _vote, _segments, positions, Snapshots, Indexes, _tail);
        _steps = new WriteSteps(_vote, _segments, bounds, _tail);
        _reader = new LogReader(_segments, positions);
        _replacement = new SegmentReplacement(folder, options, _vote, _segments, positions, Indexes, _reader);
        _scrub = new LogScrub(folder, _segments, positions, _reader, Snapshots, Indexes);
    }

    /// <summary>Term and vote, as durable.</summary>
    public HardState HardState => _vote.Current.HardState;

    /// <summary>
    /// The log begins after this entry: those up to it were dropped, or a snapshot took their place. There is a
    /// snapshot at it or behind it.
    /// </summary>
    public LogPosition Base => _vote.Current.Base;

    /// <summary>The first entry of the log, or where it will be.</summary>
    public LogIndex FirstIndex => _segments.First;

    /// <summary>The last durable entry; that of <see cref="Base"/> when the log is empty.</summary>
    public LogIndex LastIndex => _segments.Last;

    /// <summary>
    /// The terms of the log's entries. The list never changes; a write that changes terms makes a new one.
    /// </summary>
    public IReadOnlyList<TermRun> TermRuns => _segments.Terms.Current;

    /// <summary>
    /// The group's latest members that the log or its base holds; null when the group never had others than it began
    /// with, <see cref="GroupConfiguration.None"/> when that is lost.
    /// </summary>
    public GroupConfiguration? Configuration => _vote.Current.ConfiguredBy(LastIndex).Configuration;

    /// <summary>The members before <see cref="Configuration"/>, to which a truncation may lead back; or null.</summary>
    public GroupConfiguration? PreviousConfiguration =>
        _vote.Current.ConfiguredBy(LastIndex).PreviousConfiguration;

    /// <summary>
    /// The last entry that this replica had durable, or may have had, before a part of its log was lost; <see
    /// cref="LogPosition.None"/> when nothing is missing.
    /// </summary>
    public LogPosition Fence => _vote.Current.Fence;

    /// <summary>
    /// The last entry of a write that seems not to have returned before the crash, and was cut off: at least the one
    /// behind <see cref="LastIndex"/> as it was opened. When a flipped bit is what makes it look so, the entry may have
    /// been acknowledged. <see cref="LogPosition.None"/> when the log's end was clean.
    /// </summary>
    public LogPosition Doubt { get; }

    /// <summary>The segments that nothing is appended to any more, in order. A copy, from any thread.</summary>
    public IReadOnlyList<SealedSegment> SealedSegments => _segments.Sealed();

    /// <summary>The last entry of <see cref="SealedSegments"/>; none when there are none. From any thread.</summary>
    public LogIndex SealedThrough => _segments.SealedThrough;

    /// <summary>How many of <see cref="SealedSegments"/> are hollow. From any thread.</summary>
    public int HollowSegments => _segments.HollowCount;

    /// <summary>See <see cref="StorageOptions.SegmentBytes"/>.</summary>
    public long SegmentBytes => _options.SegmentBytes;

    /// <summary>The snapshots beside the log.</summary>
    public SnapshotFiles Snapshots { get; }

    /// <summary>The indexes of the sealed segments.</summary>
    public IndexFiles Indexes { get; }

    GroupId IScrubbed.Group => _folder.Group;

    /// <summary>
    /// Creates the group's log, or recovers it after a stop, a crash or damage of any kind. Damage never keeps a group
    /// from opening; what is missing shows in <see cref="SealedSegments"/>, <see cref="Fence"/> and <see
    /// cref="HardState.IsLost"/>.
    /// </summary>
    /// <param name="device">The disk.</param>
    /// <param name="folder">The group's folder; made when it is missing.</param>
    /// <param name="group">The group that the files must belong to.</param>
    /// <param name="storeId">The disk that the files must belong to.</param>
    /// <param name="options">How the disk is used.</param>
    /// <param name="logger">Hears of damage.</param>
    /// <param name="isKnown">The group was here before: an empty folder has lost it, see <see
    /// cref="NodeStore.IsKnownGroup"/>.</param>
    /// <exception cref="StorageRefusedException">The folder is another disk's, or of another format
    /// version.</exception>
    public static GroupLog Open(
        IStorageDevice device,
        string folder,
        GroupId group,
        Guid storeId,
        StorageOptions options,
        ILogger logger,
        bool isKnown = false)
    {
        var files = new GroupFolder(device, folder, group, storeId, logger);
        var snapshots = new SnapshotFiles(files);
        var recovered = new LogRecovery(files, options, snapshots, isKnown).Run();
        var log = new GroupLog(files, options, snapshots, recovered);
        if (recovered.Rescued is { } rescued)
        {
            log.AppendRescued(rescued);
        }

        StorageEvents.Opened(logger, group, log.FirstIndex, log.LastIndex, log._segments.Count, log.HardState.Term);
        return log;
    }

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
            full = _steps.TryRun(write);
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

    /// <summary>
    /// Reads entries whose write has returned, in order, from any thread. Bodies of one call share buffers that no one
    /// changes.
    /// </summary>
    /// <param name="from">The first index.</param>
    /// <param name="to">The last index, inclusive; what lies beyond the log's end is left out.</param>
    /// <param name="maxBytes">Stop before the sizes of the entries exceed this; the first entry is read whatever its
    /// size.</param>
    /// <param name="into">Where the entries are added.</param>
    /// <param name="hollowToo">Also those that say only what applying them needs; else they are refused.</param>
    /// <returns>The number of entries read; 0 when there is none at <paramref name="from"/>, be it dropped or not yet
    /// written.</returns>
    /// <exception cref="StorageCorruptException">The first entry that remains to be read is not the one that was
    /// written. Its segment is marked, see <see cref="SealedSegments"/>.</exception>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into, bool hollowToo)
    {
        ThrowIfUnusable();
        return _reader.Read(from, to, maxBytes, into, hollowToo);
    }

    /// <summary>
    /// Bytes of an entry of the log on disk, from any thread, without waiting for the disk: false when they are not
    /// known without it. Reading an entry makes known the sizes of all entries of its segment, for a while.
    /// </summary>
    public bool TrySizeBytesOf(LogIndex index, out int sizeBytes)
    {
        ThrowIfUnusable();
        return _segments.TrySizeBytesOf(index, out sizeBytes);
    }

    /// <summary>
    /// Writes a sealed segment anew, with exactly its entries, as a peer has them: group, indexes and the term of the
    /// last one identify them (log matching, Raft thesis 3.5). From any thread but the writer's; a crash leaves the old
    /// file or the new one.
    /// </summary>
    /// <param name="first">The first index of the segment.</param>
    /// <param name="entries">
    /// Its entries in order; read once, and not kept. Of a hollow segment they may begin later: what nobody has any
    /// more stays hollow.
    /// </param>
    /// <exception cref="DiskFullException">There is no space for the new file; nothing changed.</exception>
    /// <exception cref="StorageException">There is no such segment (any more), or the entries are not its entries, or
    /// the disk failed; nothing changed.</exception>
    public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> entries)
    {
        ThrowIfUnusable();
        _replacement.Replace(first, entries);
    }

    /// <summary>
    /// Adds a line, what an operator did by force, to a file beside the vote file, which the broker never reads or
    /// deletes. Any thread; durable when it returns.
    /// </summary>
    /// <exception cref="IOException">It could not be written.</exception>
    public void Audit(string record)
    {
        ThrowIfUnusable();
        lock (_auditing)
        {
            using var file = _folder.Device.Open(_folder.PathOf(GroupFolder.AuditName), create: true);
            file.Write(file.Length, Encoding.UTF8.GetBytes($"{record}\n"));
            file.Sync();
            _folder.Sync();
        }
    }

    /// <summary>
    /// Begins to write a sealed segment anew, or several that follow one another as one, with the same entries, of
    /// whose bodies less may be left; all of them must be committed. The file takes no more than they need. The index
    /// files of several go with them. From any thread; one at a time.
    /// </summary>
    /// <param name="first">The first entry of the first one.</param>
    /// <param name="last">The last entry of the last one.</param>
    /// <exception cref="DiskFullException">There is no space for the new file.</exception>
    /// <exception cref="StorageException">There are no such segments (any more), or the disk failed.</exception>
    public SegmentRewrite RewriteSegments(LogIndex first, LogIndex last)
    {
        ThrowIfUnusable();
        return _replacement.Begin(first, last);
    }

    /// <summary>
    /// Begins to write a sealed segment anew with entries of which only that is left which applying them needs, as
    /// other replicas keep the rest: to whoever reads for what they say, reading one fails as in a damaged segment.
    /// <see cref="ReplaceSegment"/> brings the whole entries back. All of them must be committed. From any thread; one
    /// at a time.
    /// </summary>
    /// <param name="first">Its first entry.</param>
    /// <exception cref="DiskFullException">There is no space for the new file.</exception>
    /// <exception cref="StorageException">There is no such segment (any more), or the disk failed.</exception>
    public SegmentRewrite HollowSegment(LogIndex first)
    {
        ThrowIfUnusable();
        return _replacement.BeginHollow(first);
    }

    /// <summary>The same, of whole entries.</summary>
    /// <inheritdoc cref="Read(LogIndex, LogIndex, int, ICollection{LogEntry}, bool)"/>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into) =>
        Read(from, to, maxBytes, into, hollowToo: false);

    IReadOnlyList<ScrubItem> IScrubbed.ScrubItems()
    {
        ThrowIfUnusable();
        return _scrub.Items();
    }

    ScrubPiece IScrubbed.Verify(ScrubItem item, long cursor, int maxBytes)
    {
        ThrowIfUnusable();
        return _scrub.Verify(item, cursor, maxBytes);
    }

    /// <summary>
    /// Closes the files. The vote file learns how far the log is durable, so that later damage of its tail is
    /// recognized.
    /// </summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        if (_failure is null && _vote.Current.DurableFloor != LastIndex)
        {
            try
            {
                _vote.Write(_vote.Current with { DurableFloor = LastIndex });
            }
            catch (IOException failure)
            {
                StorageEvents.FloorNotWritten(_folder.Logger, failure, _folder.Group);
            }
        }

        _tail.Release();
        Indexes.Dispose();
        _segments.Dispose();
        _vote.Dispose();
    }

    /// <summary>
    /// Appends what was intact of a segment that is in quarantine now. What a full disk has no room for comes from the
    /// leader later: the fence holds until then.
    /// </summary>
    private void AppendRescued(RescuedEntries rescued)
    {
        using var source = rescued;
        var write = new LogWrite();
        try
        {
            while (rescued.TryRead(write.Entries))
            {
                Write(write);
                write.Clear();
            }

            StorageEvents.Rescued(_folder.Logger, _folder.Group, LastIndex);
        }
        catch (DiskFullException failure)
        {
            StorageEvents.NotRescued(_folder.Logger, failure, _folder.Group, LastIndex);
        }
    }

    private void ThrowIfUnusable()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_failure is not null)
        {
            throw new StorageException(
                $"The log of group {_folder.Group} in {_folder.FullPath} failed before ({_failure.Message}). "
                + "The process must exit and recover.",
                _failure);
        }
    }
}
