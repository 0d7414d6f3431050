using System.Diagnostics;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Who waits for the answer to a command: first to be put into a log entry with others, then for that entry to be
/// applied. Each of them hears its fate once.
/// </summary>
internal sealed class ProposalQueue(IGroupLoop loop, LogEntries entries, GroupWrites writes, BrokerMetrics metrics)
{
    /// <summary>While a flush runs, the next entry gathers up to this before it is sent on its own.</summary>
    private const int GatherBytes = 256 * 1024;

    private readonly Queue<Proposal> _waiting = new();
    private readonly Queue<ProposedEntry> _proposed = new();

    /// <summary>The callers of all proposed entries, in their order.</summary>
    private readonly Queue<Proposal> _callers = new();

    // What was admitted and is not in an entry yet, also while it is on its way to the loop. Any thread.
    private int _waitingCount;
    private long _waitingBytes;

    private readonly record struct ProposedEntry(LogIndex Index, Term Term, int Callers);

    /// <summary>False: too much waits, and the caller has heard so. Any thread.</summary>
    public bool TryAdmit(Proposal proposal)
    {
        var bytes = Interlocked.Add(ref _waitingBytes, proposal.SizeBytes);
        var count = Interlocked.Increment(ref _waitingCount);
        if (count > Limits.WaitingProposalsPerGroup || bytes > Limits.WaitingProposalBytesPerGroup)
        {
            Uncount(proposal);
            proposal.Fail(Refusal.Overloaded($"The publish queue of group {loop.Id}", TimeSpan.FromMilliseconds(20)));
            return false;
        }

        proposal.EnqueuedAt = Stopwatch.GetTimestamp();
        metrics.Queued(1);
        return true;
    }

    /// <summary>What was admitted has come to the loop.</summary>
    public void Enqueue(Proposal proposal) => _waiting.Enqueue(proposal);

    /// <summary>Of a leader: makes entries of what waits, unless more should gather first.</summary>
    public void Propose(LogIndex applied)
    {
        var raft = loop.Raft;
        while (_waiting.Count > 0 && entries.IsTimeKnown(applied)
            && (writes.IsIdle || Volatile.Read(ref _waitingBytes) >= GatherBytes || IsNobodyTried(raft)))
        {
            if (!TryProposeOneEntry(raft))
            {
                break;
            }
        }
    }

    /// <summary>It does not lead: nobody waits for it any more.</summary>
    public void FailAll()
    {
        while (_waiting.TryDequeue(out var proposal))
        {
            Forget(proposal);
            proposal.Fail(loop.RefuseAsFollower(loop.Raft.Leader));
        }

        FailAllProposed();
    }

    /// <summary>
    /// Nothing can commit. What waits was never proposed. What was may be stored yet, when there is space again.
    /// </summary>
    public void RefuseAll()
    {
        while (_waiting.TryDequeue(out var proposal))
        {
            Forget(proposal);
            proposal.Fail(Refusal.CannotWrite(loop.Id, writes.IsDiskFull));
        }

        FailAllProposed();
    }

    /// <summary>How many callers wait for this entry, which is to be applied; they are the first.</summary>
    public int CountCallers(LogEntry entry)
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
    public void Answer(ReadOnlySpan<CommandResult> results)
    {
        if (results.Length == 0)
        {
            return;
        }

        metrics.Committed(Stopwatch.GetElapsedTime(_callers.Peek().EnqueuedAt));
        foreach (ref readonly var result in results)
        {
            _callers.Dequeue().Complete(result);
        }
    }

    /// <summary>
    /// The write that does not end is none that the others have to make too: an entry shows whether they can write.
    /// </summary>
    private bool IsNobodyTried(RaftNode raft) => writes.IsStalled && raft.LastIndex == raft.FlushedIndex;

    private bool TryProposeOneEntry(RaftNode raft)
    {
        var (count, bodyBytes) = NextBatch();
        var result = raft.TryPropose(LogEntry.OverheadBytes + bodyBytes, out var index);
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

        entries.Make(index, raft.Term, EntryKind.Commands, count, body);
        _proposed.Enqueue(new ProposedEntry(index, raft.Term, count));
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

    private void FailAllProposed()
    {
        while (_proposed.TryDequeue(out var entry))
        {
            FailProposed(entry);
        }
    }

    private void FailProposed(in ProposedEntry entry)
    {
        for (var i = 0; i < entry.Callers; i++)
        {
            _callers.Dequeue().Fail(Refusal.OutcomeUnknown(loop.Id));
        }
    }

    /// <summary>The proposal waits no more.</summary>
    private void Forget(Proposal proposal)
    {
        Uncount(proposal);
        metrics.Dequeued(1);
    }

    private void Uncount(Proposal proposal)
    {
        Interlocked.Decrement(ref _waitingCount);
        Interlocked.Add(ref _waitingBytes, -proposal.SizeBytes);
    }
}
