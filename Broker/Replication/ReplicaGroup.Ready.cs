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
}
