using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Keeps the group's state: brings the state machine from its snapshot to what is committed, entry by entry, answers
/// the callers of what it applies, and replaces the state by a leader's snapshot when entries do not lead there.
/// </summary>
internal sealed partial class StateKeeper
{
    /// <summary>Bytes applied in one go; a long replay leaves the loop to other groups in between.</summary>
    private const int ApplyBytesPerPump = 8 * 1024 * 1024;

    private readonly IGroupLoop _loop;
    private readonly GroupLog _log;
    private readonly IStateMachine _machine;
    private readonly LogEntries _entries;
    private readonly ProposalQueue _callers;
    private readonly EntryTraces _traces;
    private readonly GroupBackground _background;
    private readonly ILogger _logger;
    private readonly ApplyReader _reader;
    private readonly SealsAhead _seals;
    private readonly SegmentIndexes _indexes;
    private readonly SnapshotKeeper _snapshots;
    private readonly IndexRebuild _rebuild;
    private readonly LogThinning _thinning;
    private readonly LogHollowing _hollowing;

    /// <summary>The state is that after this entry, and that entry is committed.</summary>
    private LogIndex _applied;

    /// <summary>The members as of that entry: what a snapshot of that moment says.</summary>
    private GroupConfiguration _configuration;

    private int _hollowWanted;
    private CommandResult[] _results = new CommandResult[64];

    /// <summary>Restores the newest snapshot that the disk has.</summary>
    public StateKeeper(
        IGroupLoop loop,
        GroupConfiguration initial,
        GroupLog log,
        IStateMachine machine,
        LogEntries entries,
        ProposalQueue callers,
        EntryTraces traces,
        GroupBackground background,
        ThinningTurn turn,
        ILogger logger)
    {
        _loop = loop;
        _log = log;
        _machine = machine;
        _entries = entries;
        _callers = callers;
        _traces = traces;
        _background = background;
        _logger = logger;
        _reader = new ApplyReader(loop, entries, background);
        _seals = new SealsAhead(log);
        _indexes = new SegmentIndexes(loop, log, machine, background, logger);
        _indexes.Written += FinishWaitingInstall;
        _snapshots = new SnapshotKeeper(loop, log, background, logger);
        _rebuild = new IndexRebuild(loop, log, machine, entries, _indexes, _snapshots, background, logger);
        _thinning = new LogThinning(loop, log, machine, _indexes, _snapshots, background, turn, logger);
        _hollowing = new LogHollowing(loop, log, machine, _indexes, _snapshots, background, turn, CountHollow, logger);

        var restore = new StateRestore(loop.Id, log, machine, _snapshots, _indexes, logger);
        restore.Run();
        _applied = restore.Applied;
        _configuration = restore.Configuration ?? initial;
        _seals.Restart(_applied);
        _seals.Look(_applied);
        _snapshots.CountSealedLog(_applied);
        CountHollow();
    }

    public LogIndex Applied => _applied;

    /// <summary>Nothing has been applied, and the group begins with these members.</summary>
    public void BeginWith(GroupConfiguration configuration)
    {
        Invariant.Check(_applied == LogIndex.None, "a group begins with no state");
        _configuration = configuration;
    }

    /// <summary>There are hollow segments of which something is wanted, or one is about to become hollow.</summary>
    public bool IsHollow => _hollowing.IsUnderWay || HollowSegments > 0;

    /// <summary>Those of which something is wanted, as of the last look, or fewer by now.</summary>
    public int HollowSegments => Math.Min(_log.HollowSegments, _hollowWanted);

    /// <summary>An entry that is to be applied cannot be read: the state stands still until it is repaired.</summary>
    public bool IsBlocked => _reader.IsBlocked;

    /// <summary>The newest snapshot on disk; None: there is none.</summary>
    public LogIndex NewestSnapshot => _snapshots.Newest;

    public int CountDamagedIndexes() => _indexes.CountDamaged();

    /// <summary>
    /// Applies what is committed, in order, or a part of it when it is much. False: what comes next is not at hand.
    /// </summary>
    public bool TryApply()
    {
        if (_stage != Stage.Applying)
        {
            // What is not applied yet is part of the snapshot.
            return false;
        }

        var commit = _loop.Raft.CommitIndex;
        long bytes = 0;
        while (_applied < commit && bytes < ApplyBytesPerPump)
        {
            if (!_reader.TryRead(_applied.Next(), commit))
            {
                return false;
            }

            foreach (var entry in _reader.Next)
            {
                Apply(entry);
                bytes += entry.SizeBytes;
            }
        }

        return true;
    }

    /// <summary>The log writer has written to the log, which may have sealed a segment.</summary>
    public void LookForSeals()
    {
        if (_stage == Stage.Applying)
        {
            _seals.Look(_applied);
            PassSeal();
        }
    }

    /// <summary>
    /// Now and then: mends index files, gives back what is gone, or what others keep, and asks for a snapshot when the
    /// log does not lead on.
    /// </summary>
    public void LookAfter(long now, bool mayBeHollow)
    {
        _snapshots.ForgetDamaged();
        if (_stage == Stage.Applying)
        {
            _rebuild.Consider(now);
            _thinning.Consider(now, _applied);
            CountHollow();
            _hollowing.Consider(mayBeHollow);
        }

        ConsiderAskingForSnapshot(now);
    }

    /// <summary>
    /// A snapshot that the log may begin behind, as nothing at or before it is wanted; null: none above its base. The
    /// highest that drops no more at once than keeps the group's next write waiting for moments only. A snapshot may be
    /// the leader's, and lie within a segment; the log is dropped by whole segments.
    /// </summary>
    public LogIndex? DroppableThrough()
    {
        var baseIndex = _loop.Raft.BaseIndex;
        if (_stage != Stage.Applying || _snapshots.Newest <= baseIndex)
        {
            return null;
        }

        // The index files of what stays must be in use: until then the machine may still ask memory, which they are
        // made of.
        var wanted = LogIndex.Min(_machine.FirstNeeded, _applied.Next());
        LogIndex? through = null;
        foreach (var index in _snapshots.OnDisk)
        {
            if (index >= wanted || index >= _indexes.FirstNotInUse)
            {
                break;
            }

            if (index <= baseIndex || !IsEndOfSegment(index))
            {
                continue;
            }

            if (through is not null && IsMuch(index))
            {
                break;
            }

            through = index;
        }

        return through;
    }

    /// <summary>
    /// The log writer has dropped the log through here; or nothing, because the snapshot there is gone or damaged. Then
    /// another one is the next to be tried.
    /// </summary>
    public void FinishDrop(LogIndex through)
    {
        _loop.ConditionChanged();
        if (_log.Base.Index < through)
        {
            _snapshots.Forget(through);
            ReplicationEvents.NotDropped(_logger, _loop.Id.Value, through.Value);
            return;
        }

        _loop.Raft.CompactThrough(through);
        _snapshots.DropBelow(through);
        _indexes.DropThrough(through);
        ReplicationEvents.Dropped(_logger, _loop.Id.Value, through.Value);
    }

    private void CountHollow()
    {
        var wanted = 0;
        var first = _log.HollowSegments > 0 ? _machine.FirstNeeded : LogIndex.None;
        foreach (var segment in _log.HollowSegments > 0 ? _log.SealedSegments : [])
        {
            wanted += segment.IsHollow && segment.Last >= first ? 1 : 0;
        }

        _hollowWanted = wanted;
    }

    private void Apply(LogEntry entry)
    {
        Invariant.Check(entry.Index == _applied.Next(), "entries are applied in order");
        _entries.NoteTimestamp(entry.TimestampUnixMs);
        if (entry.Kind == EntryKind.Commands)
        {
            var callers = _callers.CountCallers(entry);
            if (callers > _results.Length)
            {
                _results = new CommandResult[Limits.CommandsPerEntry];
            }

            var results = _results.AsSpan(0, callers);
            results.Clear();
            var trace = _traces.Take(entry);
            _machine.Apply(entry, results);
            _applied = entry.Index;
            if (trace is not null)
            {
                _traces.Applied(trace);
            }

            _callers.Answer(results);
        }
        else if (entry.Kind == EntryKind.Configuration)
        {
            var isKnown = GroupConfiguration.TryDecode(entry.Body.Span, entry.Index, out _configuration);
            Invariant.Check(isKnown, "a committed configuration can be read");
        }

        _applied = entry.Index;
        PassSeal();
    }

    /// <summary>
    /// When apply has passed the last entry of a sealed segment: its index file is written, and now and then a
    /// snapshot.
    /// </summary>
    private void PassSeal()
    {
        if (!_seals.TryPass(_applied, out var segment))
        {
            return;
        }

        _indexes.Pass(segment);
        if (_snapshots.IsDueAfter(segment))
        {
            _snapshots.Start(_machine, _applied, _configuration);
        }
    }

    /// <summary>Whether it would take long to remove all segments through there.</summary>
    private bool IsMuch(LogIndex through)
    {
        var (count, bytes) = (0, 0L);
        foreach (var segment in _log.SealedSegments)
        {
            if (segment.Last > through)
            {
                break;
            }

            count++;
            bytes += segment.SizeBytes;
        }

        return count > Limits.SegmentsDroppedAtOnce || bytes > Limits.BytesDroppedAtOnce;
    }

    private bool IsEndOfSegment(LogIndex index)
    {
        foreach (var segment in _log.SealedSegments)
        {
            if (segment.Last == index)
            {
                return true;
            }
        }

        return false;
    }
}
