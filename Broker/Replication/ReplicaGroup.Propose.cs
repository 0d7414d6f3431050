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

    /// <summary>The callers of all proposed entries, in their order.</summary>
    private readonly Queue<Proposal> _callers = new();

    private long _lastTimestampUnixMs;

    /// <summary>
    /// The times of entries up to here are known when they are applied: no command of a leader may precede them, so it
    /// waits until then.
    /// </summary>
    private LogIndex _timeUnknownThrough;

    private readonly record struct ProposedEntry(LogIndex Index, Term Term, int Callers);

    private void ProposeWaiting()
    {
        if (_raft.Role != RaftRole.Leader)
        {
            FailWaiting();
            return;
        }

        while (_waiting.Count > 0 && _applied >= _timeUnknownThrough
            && (!_writeInFlight || Volatile.Read(ref _waitingBytes) >= GatherBytes || IsNobodyTried))
        {
            if (!TryProposeOneEntry())
            {
                break;
            }
        }

        HandleReady(NoEntries);
    }

    /// <summary>
    /// The write that does not end is none that the others have to make too: an entry shows whether they can write.
    /// </summary>
    private bool IsNobodyTried => _isWriteStalled && _raft.LastIndex == _raft.FlushedIndex;

    private bool TryProposeOneEntry()
    {
        var (count, bodyBytes) = NextBatch();
        var result = _raft.TryPropose(LogEntry.OverheadBytes + bodyBytes, out var index);
        if (result != ProposeResult.Accepted)
        {
            // Overloaded or handing over leadership: all go on waiting, bounded by the queue's limits.
            return false;
        }

        var body = GC.AllocateUninitializedArray<byte>(bodyBytes);
        var position = 0;
        for (var i = 0; i < count; i++)
        {
            var proposal = _waiting.Dequeue();
            proposal.Encode(body.AsSpan(position, proposal.SizeBytes));
            position += proposal.SizeBytes;
            Forget(proposal);
            _callers.Enqueue(proposal);
        }

        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, _time.GetUtcNow().ToUnixTimeMilliseconds());
        var entry = new LogEntry(
            index, _raft.Term, EntryKind.Commands, count, _lastTimestampUnixMs, Crc32C.Compute(body), body);
        _tail.Append(entry);
        TraceAppended(entry, isLeader: true);
        _proposed.Enqueue(new ProposedEntry(index, _raft.Term, count));
        return true;
    }

    /// <summary>How many of those that wait the next entry takes. They leave the queue when Raft accepts.</summary>
    private (int Count, int Bytes) NextBatch()
    {
        var count = 0;
        var bytes = 0;
        foreach (var next in _waiting)
        {
            if (count == Limits.CommandsPerEntry || (count > 0 && bytes + next.SizeBytes > Limits.EntryBodyBytes))
            {
                break;
            }

            count++;
            bytes += next.SizeBytes;
        }

        return (count, bytes);
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
        for (var i = 0; i < entry.Callers; i++)
        {
            _callers.Dequeue().Fail(Refusal.OutcomeUnknown(Id));
        }
    }

    /// <summary>How many callers wait for this entry; they are the first in their queue.</summary>
    private int CountCallers(LogEntry entry)
    {
        while (_proposed.TryPeek(out var proposed) && proposed.Index <= entry.Index)
        {
            _proposed.Dequeue();
            if (proposed.Index == entry.Index && proposed.Term == entry.Term)
            {
                return proposed.Callers;
            }

            FailProposed(proposed);
        }

        return 0;
    }

    /// <summary>One result for each of the first callers.</summary>
    private void Answer(ReadOnlySpan<CommandResult> results)
    {
        if (results.Length == 0)
        {
            return;
        }

        _metrics.Committed(Stopwatch.GetElapsedTime(_callers.Peek().EnqueuedAt));
        foreach (ref readonly var result in results)
        {
            _callers.Dequeue().Complete(result);
        }
    }
}
