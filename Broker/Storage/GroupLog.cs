using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One Raft group's log and hard state on disk. One thread at a time writes; any thread reads at the same time. When
/// <see cref="Write"/> returns, everything in it is durable. The format is described at <see cref="SegmentHeader"/>,
/// <see cref="FrameHeader"/>, <see cref="VoteRecord"/> and <see cref="PositionsFile"/>, the rules of recovery in
/// README.md beside this file.
/// </summary>
public sealed partial class GroupLog : IDisposable
{
    private readonly GroupFolder _folder;
    private readonly StorageOptions _options;
    private readonly VoteFile _vote;
    private readonly SegmentSet _segments;
    private readonly TermRuns _runs;

    /// <summary>The active segment's file, held open for the writer.</summary>
    private IStorageFile? _activeFile;

    /// <summary>Header CRC of the last frame: the chain that the next frame continues.</summary>
    private uint _lastCrc32C;

    /// <summary>The last index known durable: written into each frame, as a proof against cutting it off.</summary>
    private LogIndex _durable;

    private volatile Exception? _failure;
    private volatile bool _disposed;

    private GroupLog(
        GroupFolder folder, StorageOptions options, SnapshotFiles snapshots, RecoveredLog recovered)
    {
        _folder = folder;
        Snapshots = snapshots;
        Indexes = new IndexFiles(folder);
        _options = options;
        _vote = recovered.Vote;
        _segments = recovered.Segments;
        _runs = recovered.Runs;
        _lastCrc32C = recovered.LastCrc32C;
        _durable = _segments.Last;
        Doubt = recovered.Doubt;
        _activeFile = _segments.Active is { } active ? _segments.Acquire(active) : null;
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
    public IReadOnlyList<TermRun> TermRuns => _runs.Current;

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

    /// <summary>See <see cref="StorageOptions.SegmentBytes"/>.</summary>
    public long SegmentBytes => _options.SegmentBytes;

    /// <summary>The snapshots beside the log.</summary>
    public SnapshotFiles Snapshots { get; }

    /// <summary>The indexes of the sealed segments.</summary>
    public IndexFiles Indexes { get; }

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

        ReleaseActive();
        Indexes.Dispose();
        _segments.Dispose();
        _vote.Dispose();
    }

    private void ReleaseActive()
    {
        if (_activeFile is not null && _segments.Active is { } active)
        {
            _segments.Release(active);
            _activeFile = null;
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
