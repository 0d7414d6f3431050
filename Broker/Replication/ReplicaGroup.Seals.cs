using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// When apply has passed the last entry of a sealed segment: its index file is written, so that memory need not hold
/// where its messages are, and now and then a snapshot, so that a start need not read the log before it.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>
    /// A snapshot waits until the log has grown by this many times the size of the last one: it then adds little to
    /// what is written anyway (Raft thesis 5.1.3).
    /// </summary>
    private const int LogBytesPerSnapshotByte = 8;

    /// <summary>As if so much had been written since the last snapshot: the next seal gets one.</summary>
    private const long SnapshotIsDueBytes = long.MaxValue / 2;

    /// <summary>Sealed segments that apply has not passed yet, in log order.</summary>
    private readonly Queue<SealedSegment> _sealsAhead = new();

    /// <summary>Passed segments whose index file is not in use yet, in log order.</summary>
    private readonly Queue<SealedSegment> _toIndex = new();

    /// <summary>Where there are snapshots on disk, in rising order.</summary>
    private readonly List<LogIndex> _snapshots;

    /// <summary>The members as of the last applied entry: what a snapshot of that moment says.</summary>
    private GroupConfiguration _appliedConfiguration;

    /// <summary>Every segment through here was passed.</summary>
    private LogIndex _passedSeal;

    private LogIndex _sealedThrough;
    private bool _isIndexing;
    private bool _isSnapshotting;
    private long _lastSnapshotBytes;
    private long _logBytesSinceSnapshot;

    /// <summary>
    /// Called after each write. A segment is sealed by the write of the entry after it, which commits later: so apply
    /// never passes the end of a segment without knowing.
    /// </summary>
    private void LookForSeals()
    {
        if (_log.SealedThrough == _sealedThrough)
        {
            return;
        }

        _sealedThrough = _log.SealedThrough;
        _sealsAhead.Clear();
        foreach (var segment in _log.SealedSegments)
        {
            if (segment.Last > _passedSeal)
            {
                Invariant.Check(segment.Last >= _applied, "apply does not pass the end of a sealed segment");
                _sealsAhead.Enqueue(segment);
            }
        }
    }

    /// <summary>What was sealed before this start counts for the next snapshot too.</summary>
    private void CountSealedLog()
    {
        _passedSeal = _applied;
        LookForSeals();
        var newest = _snapshots.Count == 0 ? LogIndex.None : _snapshots[^1];
        foreach (var segment in _log.SealedSegments)
        {
            _logBytesSinceSnapshot += segment.Last > newest && segment.Last <= _applied ? segment.SizeBytes : 0;
        }
    }

    private void PassSeal()
    {
        if (!_sealsAhead.TryPeek(out var segment) || segment.Last != _applied)
        {
            return;
        }

        _passedSeal = _applied;
        _sealsAhead.Dequeue();
        if (_machine.KeepsIndexes)
        {
            _toIndex.Enqueue(segment);
            StartIndexing();
        }

        _logBytesSinceSnapshot += segment.SizeBytes;
        if (_snapshots.Count > 0 && _snapshots[^1] >= _applied)
        {
            // A replay passes what an earlier life has written.
            _logBytesSinceSnapshot = 0;
        }
        else if (!_isSnapshotting
            && _logBytesSinceSnapshot >= Math.Max(_log.SegmentBytes, LogBytesPerSnapshotByte * _lastSnapshotBytes))
        {
            StartSnapshot();
        }
    }

    /// <summary>The state becomes bytes here, at exactly this entry; the file is written in the background.</summary>
    private void StartSnapshot()
    {
        var data = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(data);
        var position = new LogPosition(_applied, _raft.TermAt(_applied));
        var configuration = _appliedConfiguration;
        _isSnapshotting = true;
        _logBytesSinceSnapshot = 0;
        if (data.WrittenCount > Limits.SnapshotBytes)
        {
            FinishSnapshot(
                position.Index,
                data.WrittenCount,
                $"it would have {data.WrittenCount:N0} bytes, and the limit is {Limits.SnapshotBytes:N0}. The log "
                + "stays as it is, and starts take longer");
            return;
        }

        RunInBackground(() =>
        {
            var failure = Attempt(() => _log.Snapshots.Write(position, configuration, data.WrittenSpan));
            Resume(() => FinishSnapshot(position.Index, data.WrittenCount, failure));
        });
    }

    private void FinishSnapshot(LogIndex index, int sizeBytes, string? failure)
    {
        _isSnapshotting = false;
        if (failure is not null)
        {
            ReplicationEvents.SnapshotNotWritten(_logger, Id.Value, index.Value, failure);
            _logBytesSinceSnapshot = SnapshotIsDueBytes;
            return;
        }

        if (index <= _raft.BaseIndex)
        {
            // Another one has come from the leader meanwhile, and with it a newer base.
            RunInBackground(() => _log.Snapshots.DeleteBelow(_raft.BaseIndex));
            return;
        }

        _lastSnapshotBytes = sizeBytes;
        AddSnapshot(index);
        ReplicationEvents.SnapshotWritten(_logger, Id.Value, index.Value, sizeBytes);
        _conditionIsStale = true;
    }

    private void AddSnapshot(LogIndex index)
    {
        var at = _snapshots.BinarySearch(index);
        if (at < 0)
        {
            _snapshots.Insert(~at, index);
        }
    }

    private void StartIndexing()
    {
        if (_isIndexing || !_toIndex.TryPeek(out var segment))
        {
            return;
        }

        _isIndexing = true;
        if (_foundIndexes.Remove(segment.First, out var found))
        {
            FinishIndexing(segment, found, isFound: true, failure: null);
            return;
        }

        RunInBackground(() =>
        {
            var directory = new ArrayBufferWriter<byte>();
            var body = new ArrayBufferWriter<byte>();
            var failure = Attempt(() =>
            {
                var isKept = _machine.TryWriteIndex(segment.First, segment.Last, directory, body);
                Invariant.Check(isKept, "memory holds what no index file covers");
                _log.Indexes.Write(segment.First, segment.Last, directory.WrittenSpan, body.WrittenSpan);
            });
            Resume(() => FinishIndexing(segment, directory.WrittenMemory, isFound: false, failure));
        });
    }

    /// <summary>
    /// What failed is tried again at the next seal; memory holds it until then. A file of an earlier life that does not
    /// fit is written anew at once.
    /// </summary>
    private void FinishIndexing(
        SealedSegment segment, ReadOnlyMemory<byte> directory, bool isFound, string? failure)
    {
        _isIndexing = false;
        if (_isInstallWaiting)
        {
            FinishInstall(_installing!.Snapshot);
        }

        if (_toIndex.Count == 0 || _toIndex.Peek().First != segment.First)
        {
            // The state was replaced meanwhile. The file stays when the segment does: the next start can use it.
            if (segment.Last <= _raft.BaseIndex)
            {
                RunInBackground(() => _log.Indexes.Delete(segment.First));
            }

            return;
        }

        failure ??= Use(segment, directory);
        if (failure is null)
        {
            _toIndex.Dequeue();
            StartIndexing();
            return;
        }

        ReplicationEvents.IndexNotUsed(_logger, Id.Value, segment.First.Value, segment.Last.Value, failure);
        if (isFound)
        {
            StartIndexing();
        }
    }

    private string? Use(SealedSegment segment, ReadOnlyMemory<byte> directory)
    {
        try
        {
            _machine.UseIndex(segment.First, segment.Last, directory);
            _directoryCrc32Cs[segment.First] = Crc32C.Compute(directory.Span);
            return null;
        }
        catch (InvalidDataException unusable)
        {
            return unusable.Message;
        }
    }

    /// <summary>
    /// Null, or why a file could not be written. A disk that is full or bad is no reason to end: nothing depends on the
    /// file until it is there.
    /// </summary>
    private static string? Attempt(Action write)
    {
        try
        {
            write();
            return null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return failure.Message;
        }
    }
}
