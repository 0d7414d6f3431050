using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>Carries out what Raft asks for: what to persist is gathered and handed to the log writer.</summary>
public sealed partial class ReplicaGroup
{
    private LogWrite _gathering = new();
    private LogWrite _writing = new();
    private long _gatheringSequence;
    private long _writingSequence;
    private bool _writeInFlight;
    private long _floorDueMs;
    private LogIndex _handedToWriter; // the highest index that the log, or the write in flight, holds

    /// <summary>Takes Raft's Ready. arrived: the entries of the message that was just stepped.</summary>
    private void HandleReady(IReadOnlyList<LogEntry> arrived)
    {
        while (_raft.HasReady)
        {
            var ready = _raft.TakeReady();
            if (ready.PersistSequence > 0)
            {
                Gather(ready, arrived);
            }

            foreach (var message in ready.Messages)
            {
                Send(message);
            }

            TakeReads(ready.Reads);
        }
    }

    private void Gather(Ready ready, IReadOnlyList<LogEntry> arrived)
    {
        _gatheringSequence = ready.PersistSequence;
        if (ready.HardState is { } hardState)
        {
            _gathering.HardState = hardState;
        }

        if (ready.Configuration is { } configuration)
        {
            _gathering.Configuration = configuration;
            _gathering.PreviousConfiguration = ready.PreviousConfiguration;
            _conditionIsStale = true;
        }

        if (ready.Fence is { } fence)
        {
            _gathering.Fence = fence;
            _conditionIsStale = true;
        }

        if (ready.Snapshot is { } snapshot)
        {
            GatherSnapshot(snapshot);
        }

        if (ready.TruncateFrom is { } from)
        {
            Truncate(from);
        }

        if (ready.Noop is { } noop)
        {
            AppendOwn(noop, EntryKind.Noop, []);
        }

        if (ready.AppendedConfiguration is { } changed)
        {
            AppendOwn(changed.Index, EntryKind.Configuration, changed.Encode());
        }

        AppendEntries(ready, arrived);
    }

    private void AppendEntries(Ready ready, IReadOnlyList<LogEntry> arrived)
    {
        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            var entry = _tail.TryGet(index);
            if (entry is null || entry.Term != _raft.TermAt(index))
            {
                entry = arrived[(int)(index - arrived[0].Index)];
                _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, entry.TimestampUnixMs);
                _tail.Append(entry);
                TraceAppended(entry, isLeader: false);
            }

            _gathering.Entries.Add(entry);
        }
    }

    /// <summary>An entry of the group's own, which no caller has proposed.</summary>
    private void AppendOwn(LogIndex index, EntryKind kind, byte[] body)
    {
        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, _time.GetUtcNow().ToUnixTimeMilliseconds());
        _tail.Append(new LogEntry(index, _raft.Term, kind, 0, _lastTimestampUnixMs, Crc32C.Compute(body), body));
    }

    private void Truncate(LogIndex from)
    {
        Invariant.Check(from > _applied, "an applied entry is never truncated");
        _tail.TruncateFrom(from);
        TraceTruncated(from);
        _timeUnknownThrough = LogIndex.Min(_timeUnknownThrough, from.Previous());
        _gathering.Entries.RemoveAll(entry => entry.Index >= from);
        if (from <= _handedToWriter)
        {
            _gathering.TruncateFrom = _gathering.TruncateFrom is { } earlier ? LogIndex.Min(earlier, from) : from;
            _handedToWriter = from.Previous();
        }
    }

    private void SubmitWrite()
    {
        if (_writeInFlight)
        {
            return;
        }

        RaiseFloorWhenQuiet();
        if (_gatheringSequence == 0 && _gathering.DropThrough is null && !_gathering.RaisesFloor)
        {
            return;
        }

        (_gathering, _writing) = (_writing, _gathering);
        (_writingSequence, _gatheringSequence) = (_gatheringSequence, 0);
        _writeInFlight = true;
        if (_writing.Entries.Count > 0)
        {
            _handedToWriter = _writing.Entries[^1].Index;
        }

        _writer.Submit(this, _log, _writing);
    }

    /// <summary>
    /// Each entry proves that those of the writes before it were durable. The last ones get their proof when nothing
    /// follows them for a while: then damage of them is told apart from a write that never returned.
    /// </summary>
    private void RaiseFloorWhenQuiet()
    {
        if (NowMs() >= _floorDueMs)
        {
            _floorDueMs = long.MaxValue;
            _gathering.RaisesFloor = true;
        }
    }

    private void FinishWrite()
    {
        Invariant.Check(_writeInFlight, "a write completes once");
        var snapshot = _writing.Snapshot;
        var dropped = _writing.DropThrough;
        _floorDueMs = _writing.Entries.Count > 0 ? NowMs() + Limits.RaiseFloorAfterMs : _floorDueMs;
        _writing.Clear();
        _writeInFlight = false;
        _isDiskFull = false;
        if (_installing is null)
        {
            LookForSeals();
            PassSeal();
        }

        if (snapshot is not null)
        {
            FinishInstall(snapshot);
        }

        _raft.Persisted(_writingSequence);
        TraceFlushed(_raft.FlushedIndex);
        if (dropped is { } through)
        {
            FinishDrop(through);
        }

        // What is blocked from being applied can be read from disk again; memory stays bounded meanwhile.
        _tail.Evict(IsApplyBlocked ? _raft.FlushedIndex : LogIndex.Min(_applied, _raft.FlushedIndex));
    }
}
