using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>Linearizable reads (Raft thesis 6.4): what waits at a moment shares one round to the followers.</summary>
public sealed partial class ReplicaGroup
{
    private readonly List<TaskCompletionSource<LogIndex>> _readsWaiting = [];
    private readonly List<ReadBatch> _readsUnderWay = [];
    private long _lastReadContext;
    private int _readCount;

    private sealed class ReadBatch(long context, TaskCompletionSource<LogIndex>[] readers)
    {
        public long Context => context;

        public TaskCompletionSource<LogIndex>[] Readers => readers;

        /// <summary>Where the leader was when the read began; null until a majority has confirmed it.</summary>
        public LogIndex? Index { get; set; }
    }

    /// <summary>
    /// Completes when this replica, the leader, has applied everything that was committed when this was called: a read
    /// of its state then misses nothing that anybody was told. Answers the index.
    /// </summary>
    /// <exception cref="BrokerException">
    /// NotLeader, NoLeader: ask the leader. ResourceExhausted: too many reads wait.
    /// </exception>
    public Task<LogIndex> ReadIndexAsync(CancellationToken cancellationToken)
    {
        if (_status.Role != RaftRole.Leader)
        {
            return Task.FromException<LogIndex>(RefuseAsFollower(_status.Leader));
        }

        if (Interlocked.Increment(ref _readCount) > Limits.PendingReadsPerGroup)
        {
            Interlocked.Decrement(ref _readCount);
            return Task.FromException<LogIndex>(
                Refusal.Overloaded($"The queue of reads of group {Id}", TimeSpan.FromMilliseconds(20)));
        }

        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        Resume(() => _readsWaiting.Add(done));
        return done.Task.WaitAsync(cancellationToken);
    }

    private void StartReads()
    {
        if (_readsWaiting.Count == 0)
        {
            return;
        }

        if (_raft.Role != RaftRole.Leader)
        {
            RefuseReads(_readsWaiting);
            _readsWaiting.Clear();
        }
        else if (_raft.TryReadIndex(_lastReadContext + 1))
        {
            _lastReadContext++;
            _readsUnderWay.Add(new ReadBatch(_lastReadContext, [.. _readsWaiting]));
            _readsWaiting.Clear();
            HandleReady(NoEntries);
        }
    }

    private void TakeReads(IReadOnlyList<ReadResult> results)
    {
        for (var i = 0; i < results.Count; i++)
        {
            var result = results[i];
            var at = _readsUnderWay.FindIndex(batch => batch.Context == result.Context);
            Invariant.Check(at >= 0, "an answered read is under way");
            if (result.Refused)
            {
                RefuseReads(_readsUnderWay[at].Readers);
                _readsUnderWay.RemoveAt(at);
            }
            else
            {
                _readsUnderWay[at].Index = result.Index;
            }
        }
    }

    private void FinishReads()
    {
        for (var i = 0; i < _readsUnderWay.Count;)
        {
            if (_readsUnderWay[i].Index is not { } index || index > _applied)
            {
                i++;
                continue;
            }

            foreach (var reader in _readsUnderWay[i].Readers)
            {
                Interlocked.Decrement(ref _readCount);
                reader.TrySetResult(index);
            }

            _readsUnderWay.RemoveAt(i);
        }
    }

    private void RefuseReads(IEnumerable<TaskCompletionSource<LogIndex>> readers)
    {
        foreach (var reader in readers)
        {
            Interlocked.Decrement(ref _readCount);
            reader.TrySetException(RefuseAsFollower(_raft.Leader));
        }
    }
}
