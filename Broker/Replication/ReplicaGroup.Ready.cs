using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>Carries out what Raft asks for: persist, send, apply.</summary>
public sealed partial class ReplicaGroup
{
    /// <summary>Bytes applied in one go; a long replay leaves the loop to other groups in between.</summary>
    private const int ApplyBytesPerPump = 8 * 1024 * 1024;

    private readonly List<LogEntry> _applyBuffer = [];
    private readonly List<LogEntry> _sendBuffer = [];
    private LogWrite _gathering = new();
    private LogWrite _writing = new();
    private long _gatheringSequence;
    private long _writingSequence;
    private bool _writeInFlight;
    private LogIndex _handedToWriter; // the highest index that the log, or the write in flight, holds
    private LogIndex _applied;
    private CommandResult[] _results = new CommandResult[64];

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
        }
    }

    private void Gather(Ready ready, IReadOnlyList<LogEntry> arrived)
    {
        _gatheringSequence = ready.PersistSequence;
        if (ready.HardState is { } hardState)
        {
            _gathering.HardState = hardState;
        }

        if (ready.TruncateFrom is { } from)
        {
            Truncate(from);
        }

        if (ready.Noop is { } noop)
        {
            AppendNoop(noop);
        }

        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            var entry = _tail.TryGet(index);
            if (entry is null || entry.Term != _raft.TermAt(index))
            {
                entry = arrived[(int)(index - arrived[0].Index)];
                _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, entry.TimestampUnixMs);
                _tail.Append(entry);
            }

            _gathering.Entries.Add(entry);
        }
    }

    private void AppendNoop(LogIndex index)
    {
        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, _time.GetUtcNow().ToUnixTimeMilliseconds());
        _tail.Append(
            new LogEntry(index, _raft.Term, EntryKind.Noop, 0, _lastTimestampUnixMs, Crc32C.Compute([]), default));
    }

    private void Truncate(LogIndex from)
    {
        Invariant.Check(from > _applied, "an applied entry is never truncated");
        _tail.TruncateFrom(from);
        _gathering.Entries.RemoveAll(entry => entry.Index >= from);
        if (from <= _handedToWriter)
        {
            _gathering.TruncateFrom = _gathering.TruncateFrom is { } earlier ? LogIndex.Min(earlier, from) : from;
            _handedToWriter = from.Previous();
        }
    }

    private void Send(RaftMessage message)
    {
        _sendBuffer.Clear();
        if (message.EntryCount > 0)
        {
            var next = message.LogIndex.Next();
            var last = message.LogIndex + message.EntryCount;
            while (next <= last)
            {
                var count = ReadEntries(next, last, int.MaxValue, _sendBuffer);
                if (count == 0)
                {
                    // The entry was truncated between the decision and now, or its frame went bad: Raft sends again.
                    ReplicationLog.EntryUnavailable(_logger, Id.Value, next.Value);
                    return;
                }

                next += count;
            }
        }

        _sender.Send(message.To, PeerMessageMapper.ToWire(Id, message, _sendBuffer));
    }

    private void SubmitWrite()
    {
        if (_writeInFlight || _gatheringSequence == 0)
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

    private void FinishWrite()
    {
        Invariant.Check(_writeInFlight, "a write completes once");
        _writing.Clear();
        _writeInFlight = false;
        _raft.Persisted(_writingSequence);
        _tail.Evict(LogIndex.Min(_applied, _raft.FlushedIndex));
    }

    private void ApplyCommitted()
    {
        var commit = _raft.CommitIndex;
        long bytes = 0;
        while (_applied < commit && bytes < ApplyBytesPerPump)
        {
            _applyBuffer.Clear();
            ReadEntries(_applied.Next(), commit, Limits.AppendMessageBytes, _applyBuffer);
            Invariant.Check(_applyBuffer.Count > 0, "a committed entry can be read");
            foreach (var entry in _applyBuffer)
            {
                Apply(entry);
                bytes += entry.SizeBytes;
            }
        }

        if (_applied < commit)
        {
            Schedule();
        }
    }

    private void Apply(LogEntry entry)
    {
        Invariant.Check(entry.Index == _applied.Next(), "entries are applied in order");
        if (entry.Kind == EntryKind.Commands)
        {
            var callers = TakeCallers(entry);
            if (callers.Length > _results.Length)
            {
                _results = new CommandResult[Limits.CommandsPerEntry];
            }

            var results = _results.AsSpan(0, callers.Length);
            results.Clear();
            _machine.Apply(entry, results);
            _applied = entry.Index;
            Answer(callers, results);
        }

        _applied = entry.Index;
    }
}
