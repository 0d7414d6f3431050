using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// The snapshots of a replica's state that are on its disk, so that a start need not read the log before them, and when
/// the next one is due.
/// </summary>
internal sealed class SnapshotKeeper(IGroupLoop loop, GroupLog log, GroupBackground background, ILogger logger)
{
    /// <summary>
    /// A snapshot waits until the log has grown by this many times the size of the last one: it then adds little to
    /// what is written anyway (Raft thesis 5.1.3).
    /// </summary>
    private const int LogBytesPerSnapshotByte = 8;

    /// <summary>See <see cref="Prune"/>.</summary>
    private const int SpacingPart = 4;

    /// <summary>As if so much had been written since the last snapshot: the next seal gets one.</summary>
    private const long IsDueBytes = long.MaxValue / 2;

    /// <summary>Where there are snapshots, in rising order.</summary>
    private readonly List<LogIndex> _onDisk = [.. log.Snapshots.List()];

    private bool _isWriting;
    private long _lastSizeBytes;
    private long _logBytesSince; // in sealed segments that apply has passed since the last one

    public IReadOnlyList<LogIndex> OnDisk => _onDisk;

    /// <summary>None: there is none.</summary>
    public LogIndex Newest => _onDisk.Count == 0 ? LogIndex.None : _onDisk[^1];

    /// <summary>What was sealed, and is in the state, before this start counts for the next one too.</summary>
    public void CountSealedLog(LogIndex applied)
    {
        var newest = Newest;
        foreach (var segment in log.SealedSegments)
        {
            _logBytesSince += segment.Last > newest && segment.Last <= applied ? segment.SizeBytes : 0;
        }
    }

    /// <summary>Apply has passed a segment. True: this state shall be written.</summary>
    public bool IsDueAfter(SealedSegment segment)
    {
        _logBytesSince += segment.SizeBytes;
        if (_onDisk.Count > 0 && _onDisk[^1] >= segment.Last)
        {
            // A replay passes what an earlier life has written.
            _logBytesSince = 0;
            return false;
        }

        return !_isWriting && _logBytesSince >= Math.Max(log.SegmentBytes, LogBytesPerSnapshotByte * _lastSizeBytes);
    }

    /// <summary>The next seal shall have one.</summary>
    public void WantSoon() => _logBytesSince = IsDueBytes;

    /// <summary>The state becomes bytes here, at exactly this entry; the file is written in the background.</summary>
    public void Start(IStateMachine machine, LogIndex applied, GroupConfiguration configuration)
    {
        var data = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(data);
        var position = new LogPosition(applied, loop.Raft.TermAt(applied));
        _isWriting = true;
        _logBytesSince = 0;
        if (data.WrittenCount > Limits.SnapshotBytes)
        {
            Finish(
                position.Index,
                data.WrittenCount,
                $"it would have {data.WrittenCount:N0} bytes, and the limit is {Limits.SnapshotBytes:N0}. The log "
                + "stays as it is, and starts take longer");
            return;
        }

        background.Run(() =>
        {
            var failure = GroupBackground.Attempt(
                () => log.Snapshots.Write(position, configuration, data.WrittenSpan));
            loop.Resume(() => Finish(position.Index, data.WrittenCount, failure));
        });
    }

    /// <summary>
    /// The leader's snapshot, which stands for entries of this log, is on the disk, or is not. Without the file the
    /// state is as good: the next start asks again.
    /// </summary>
    public void TakeAdopted(LogIndex index, string? failure)
    {
        if (failure is not null)
        {
            ReplicationEvents.SnapshotNotWritten(logger, loop.Id.Value, index.Value, failure);
        }
        else if (index > loop.Raft.BaseIndex)
        {
            Add(index);
        }
        else
        {
            // The leader's next one has taken the place of the whole log meanwhile.
            background.Run(() => log.Snapshots.DeleteBelow(loop.Raft.BaseIndex));
        }
    }

    /// <summary>
    /// Now and then: what a scrub, or whoever else read it, has found damaged stands for nothing any more. Without the
    /// newest one a start would take longer, so the next seal gets another.
    /// </summary>
    public void ForgetDamaged()
    {
        foreach (var index in log.Snapshots.TakeSetAside())
        {
            if (index == Newest)
            {
                WantSoon();
            }

            Forget(index);
        }
    }

    /// <summary>The state has become that of a snapshot of this size.</summary>
    public void NoteRestored(long sizeBytes) => _lastSizeBytes = sizeBytes;

    /// <summary>A snapshot has taken the log's place: no other is left.</summary>
    public void ReplaceAll(LogIndex index)
    {
        _onDisk.Clear();
        Add(index);
        _logBytesSince = 0;
    }

    /// <summary>The log begins behind the snapshot here: those before it are gone.</summary>
    public void DropBelow(LogIndex index) => _onDisk.RemoveAll(each => each < index);

    /// <summary>The snapshot here is gone or damaged.</summary>
    public void Forget(LogIndex index) => _onDisk.Remove(index);

    private void Finish(LogIndex index, int sizeBytes, string? failure)
    {
        _isWriting = false;
        if (failure is not null)
        {
            ReplicationEvents.SnapshotNotWritten(logger, loop.Id.Value, index.Value, failure);
            WantSoon();
            return;
        }

        if (index <= loop.Raft.BaseIndex)
        {
            // Another one has come from the leader meanwhile, and with it a newer base.
            background.Run(() => log.Snapshots.DeleteBelow(loop.Raft.BaseIndex));
            return;
        }

        _lastSizeBytes = sizeBytes;
        Add(index);
        Prune();
        ReplicationEvents.SnapshotWritten(logger, loop.Id.Value, index.Value, sizeBytes);
        loop.ConditionChanged();
    }

    /// <summary>
    /// While something old is kept the log does not drop its beginning, and snapshots pile up. The farther they are
    /// behind, the fewer stay: the log may have to keep a quarter more than it must, and what lies between two of them
    /// can be dropped in a single step.
    /// </summary>
    private void Prune()
    {
        for (var i = 1; i < _onDisk.Count - Limits.NewestSnapshots;)
        {
            var (count, bytes) = CountBetween(_onDisk[i - 1], _onDisk[i + 1]);
            var isMuch = count > Limits.SegmentsDroppedAtOnce || bytes > Limits.BytesDroppedAtOnce;
            if (isMuch || SpacingPart * bytes > CountBetween(_onDisk[i + 1], _onDisk[^1]).Bytes)
            {
                i++;
                continue;
            }

            var unwanted = _onDisk[i];
            _onDisk.RemoveAt(i);
            background.Run(() => GroupBackground.Attempt(() => log.Snapshots.Delete(unwanted)));
        }
    }

    /// <summary>The segments that end between two entries.</summary>
    private (int Count, long Bytes) CountBetween(LogIndex from, LogIndex through)
    {
        var (count, bytes) = (0, 0L);
        foreach (var segment in log.SealedSegments)
        {
            if (segment.Last > from && segment.Last <= through)
            {
                count++;
                bytes += segment.SizeBytes;
            }
        }

        return (count, bytes);
    }

    private void Add(LogIndex index)
    {
        var at = _onDisk.BinarySearch(index);
        if (at < 0)
        {
            _onDisk.Insert(~at, index);
        }
    }
}
