using System.Diagnostics;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>From waiting commands to log entries, and from applied entries to answers.</summary>
public sealed partial class ReplicaGroup
{
    /// <summary>While a flush runs, the next entry gathers up to this before it is sent on its own.</summary>
    private const int GatherBytes = 256 * 1024;

    private readonly Queue<Proposal> _waiting = new();
    private readonly Queue<ProposedEntry> _proposed = new();
    private readonly List<Proposal> _batch = [];
    private long _lastTimestampUnixMs;

    /// <summary>
    /// The times of entries up to here are known when they are applied: no command of a leader may precede them, so it
    /// waits until then.
    /// </summary>
    private LogIndex _timeUnknownThrough;

    private readonly record struct ProposedEntry(LogIndex Index, Term Term, Proposal[] Proposals);

    private void ProposeWaiting()
    {
        if (_raft.Role != RaftRole.Leader)
        {
            FailWaiting();
            return;
        }

        while (_waiting.Count > 0 && _applied >= _timeUnknownThrough
            && (!_writeInFlight || Volatile.Read(ref _waitingBytes) >= GatherBytes))
        {
            if (!TryProposeOneEntry())
            {
                break;
            }
        }

        HandleReady(NoEntries);
    }

    private bool TryProposeOneEntry()
    {
        var bodyBytes = TakeBatch();
        var result = _raft.TryPropose(LogEntry.OverheadBytes + bodyBytes, out var index);
        if (result != ProposeResult.Accepted)
        {
            // Overloaded or handing over leadership: the batch goes on waiting, in its order, bounded by the queue's
            // limits.
            PutBack();
            return false;
        }

        var body = GC.AllocateUninitializedArray<byte>(bodyBytes);
        var position = 0;
        foreach (var proposal in _batch)
        {
            proposal.Encode(body.AsSpan(position, proposal.SizeBytes));
            position += proposal.SizeBytes;
            Forget(proposal);
        }

        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, _time.GetUtcNow().ToUnixTimeMilliseconds());
        _tail.Append(new LogEntry(
            index, _raft.Term, EntryKind.Commands, _batch.Count, _lastTimestampUnixMs, Crc32C.Compute(body), body));
        _proposed.Enqueue(new ProposedEntry(index, _raft.Term, [.. _batch]));
        _batch.Clear();
        return true;
    }

    private int TakeBatch()
    {
        _batch.Clear();
        var bytes = 0;
        while (_waiting.TryPeek(out var next) && _batch.Count < Limits.CommandsPerEntry
            && (_batch.Count == 0 || bytes + next.SizeBytes <= Limits.EntryBodyBytes))
        {
            _batch.Add(_waiting.Dequeue());
            bytes += next.SizeBytes;
        }

        return bytes;
    }

    private void PutBack()
    {
        var later = _waiting.ToArray();
        _waiting.Clear();
        foreach (var proposal in _batch.Concat(later))
        {
            _waiting.Enqueue(proposal);
        }

        _batch.Clear();
    }

    private void FailWaiting()
    {
        while (_waiting.TryDequeue(out var proposal))
        {
            Forget(proposal);
            proposal.Fail(RefuseAsFollower(_raft.Leader));
        }

        while (_proposed.TryDequeue(out var entry))
        {
            FailProposed(entry);
        }
    }

    private void FailProposed(in ProposedEntry entry)
    {
        foreach (var proposal in entry.Proposals)
        {
            proposal.Fail(Refusal.OutcomeUnknown(Id));
        }
    }

    /// <summary>The callers that wait for this entry, or none.</summary>
    private Proposal[] TakeCallers(LogEntry entry)
    {
        while (_proposed.TryPeek(out var proposed) && proposed.Index <= entry.Index)
        {
            _proposed.Dequeue();
            if (proposed.Index == entry.Index && proposed.Term == entry.Term)
            {
                return proposed.Proposals;
            }

            FailProposed(proposed);
        }

        return [];
    }

    private void Answer(Proposal[] callers, ReadOnlySpan<CommandResult> results)
    {
        if (callers.Length == 0)
        {
            return;
        }

        _metrics.Committed(Stopwatch.GetElapsedTime(callers[0].EnqueuedAt));
        for (var i = 0; i < callers.Length; i++)
        {
            callers[i].Complete(results[i]);
        }
    }
}
