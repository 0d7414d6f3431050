using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>Linearizable reads (Raft thesis 6.4): what waits at a moment shares one round to the followers.</summary>
internal sealed class LinearizableReads(IGroupLoop loop)
{
    private readonly List<TaskCompletionSource<LogIndex>> _waiting = [];
    private readonly List<ReadBatch> _underWay = [];
    private long _lastContext;
    private int _count;

    private sealed class ReadBatch(long context, TaskCompletionSource<LogIndex>[] readers)
    {
        public long Context => context;

        public TaskCompletionSource<LogIndex>[] Readers => readers;

        /// <summary>Where the leader was when the read began; null until a majority has confirmed it.</summary>
        public LogIndex? Index { get; set; }
    }

    /// <summary>See <see cref="ReplicaGroup.ReadIndexAsync"/>. Any thread.</summary>
    public Task<LogIndex> AskAsync(GroupStatus status, CancellationToken cancellationToken)
    {
        if (status.Role != RaftRole.Leader)
        {
            return Task.FromException<LogIndex>(loop.RefuseAsFollower(status.Leader));
        }

        if (Interlocked.Increment(ref _count) > Limits.PendingReadsPerGroup)
        {
            Interlocked.Decrement(ref _count);
            return Task.FromException<LogIndex>(
                Refusal.Overloaded($"The queue of reads of group {loop.Id}", TimeSpan.FromMilliseconds(20)));
        }

        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Resume(() => _waiting.Add(done));
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Begins the round for what waits.</summary>
    public void Start()
    {
        if (_waiting.Count == 0)
        {
            return;
        }

        if (loop.Raft.Role != RaftRole.Leader)
        {
            Refuse(_waiting);
            _waiting.Clear();
        }
        else if (loop.Raft.TryReadIndex(_lastContext + 1))
        {
            _lastContext++;
            _underWay.Add(new ReadBatch(_lastContext, [.. _waiting]));
            _waiting.Clear();
        }
    }

    /// <summary>Raft's answers.</summary>
    public void Take(IReadOnlyList<ReadResult> results)
    {
        for (var i = 0; i < results.Count; i++)
        {
            var result = results[i];
            var at = _underWay.FindIndex(batch => batch.Context == result.Context);
            Invariant.Check(at >= 0, "an answered read is under way");
            if (result.Refused)
            {
                Refuse(_underWay[at].Readers);
                _underWay.RemoveAt(at);
            }
            else
            {
                _underWay[at].Index = result.Index;
            }
        }
    }

    /// <summary>Answers the reads of a state that is reached.</summary>
    public void Finish(LogIndex applied)
    {
        for (var i = 0; i < _underWay.Count;)
        {
            if (_underWay[i].Index is not { } index || index > applied)
            {
                i++;
                continue;
            }

            foreach (var reader in _underWay[i].Readers)
            {
                Interlocked.Decrement(ref _count);
                reader.TrySetResult(index);
            }

            _underWay.RemoveAt(i);
        }
    }

    private void Refuse(IEnumerable<TaskCompletionSource<LogIndex>> readers)
    {
        foreach (var reader in readers)
        {
            Interlocked.Decrement(ref _count);
            reader.TrySetException(loop.RefuseAsFollower(loop.Raft.Leader));
        }
    }
}
