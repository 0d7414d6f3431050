using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One Raft group's log and hard state on disk. One thread at a time writes; any thread reads at the same time. When
/// <see cref="Write"/> returns, everything in it is durable. The format is described at <see cref="SegmentHeader"/>,
/// <see cref="FrameHeader"/> and <see cref="VoteRecord"/>, the rules of recovery in README.md beside this file.
/// </summary>
public sealed partial class GroupLog : IDisposable
{
    private readonly IStorageDevice _device;
    private readonly string _folder;
    private readonly GroupId _group;
    private readonly Guid _storeId;
    private readonly StorageOptions _options;
    private readonly ILogger _logger;
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
        IStorageDevice device, string folder, StorageOptions options, ILogger logger, RecoveredLog recovered)
    {
        _device = device;
        _folder = folder;
        _group = recovered.Group;
        _storeId = recovered.StoreId;
        _options = options;
        _logger = logger;
        _vote = recovered.Vote;
        _segments = recovered.Segments;
        _runs = recovered.Runs;
        _lastCrc32C = recovered.LastCrc32C;
        _durable = _segments.Last;
        _activeFile = _segments.Active is { } active ? _segments.Acquire(active) : null;
    }

    /// <summary>Term and vote, as durable.</summary>
    public HardState HardState => _vote.Current.HardState;

    /// <summary>The first entry of the log.</summary>
    public LogIndex FirstIndex { get; } = new(1);

    /// <summary>The last durable entry; 0 when the log is empty.</summary>
    public LogIndex LastIndex => _segments.Last;

    /// <summary>
    /// The terms of the log's entries. The list never changes; a write that changes terms makes a new one.
    /// </summary>
    public IReadOnlyList<TermRun> TermRuns => _runs.Current;

    /// <summary>Creates the group's log, or recovers it after a stop or crash of any kind.</summary>
    /// <exception cref="StorageCorruptException">Something durable is damaged or missing.</exception>
    /// <exception cref="StorageRefusedException">The folder is another disk's, or of another format
    /// version.</exception>
    public static GroupLog Open(
        IStorageDevice device, string folder, GroupId group, Guid storeId, StorageOptions options, ILogger logger)
    {
        var recovered = new LogRecovery(device, folder, group, storeId, options, logger).Run();
        var log = new GroupLog(device, folder, options, logger, recovered);
        StorageLog.Opened(logger, group, log.LastIndex, recovered.Segments.Count, log.HardState.Term);
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
                StorageLog.FloorNotWritten(_logger, failure, _group);
            }
        }

        ReleaseActive();
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
                $"The log of group {_group} in {_folder} failed before ({_failure.Message}). "
                + "The process must exit and recover.",
                _failure);
        }
    }
}
