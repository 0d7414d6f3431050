using System.Diagnostics.CodeAnalysis;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Linearizable reads (Raft thesis 6.4): what waits at a moment shares one round to the followers. A read at a follower
/// has its index from the leader, and waits here until that is applied.
/// </summary>
internal sealed class LinearizableReads(IGroupLoop loop)
{
    private readonly List<TaskCompletionSource<LogIndex>> _waiting = [];
    private readonly List<ReadBatch> _underWay = [];

    /// <summary>Reads whose index is known, and not applied yet.</summary>
    private readonly List<(LogIndex Index, TaskCompletionSource<LogIndex> Done)> _behind = [];
    private long _lastContext;
    private int _count;

    /// <summary>Somebody waits until this replica has applied more.</summary>
    public bool IsAwaited => _behind.Count > 0;

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

        if (!TryCount(out var full))
        {
            return full;
        }

        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Resume(() => _waiting.Add(done));
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>See <see cref="ReplicaGroup.WaitForAppliedAsync"/>. Any thread.</summary>
    public Task<LogIndex> WaitAsync(GroupStatus status, LogIndex index, CancellationToken cancellationToken)
    {
        if (status.AppliedIndex >= index)
        {
            return Task.FromResult(index);
        }

        if (!TryCount(out var full))
        {
            return full;
        }

        // What is applied meanwhile is seen when the loop goes on: then it looks at all that wait here.
        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Resume(() => _behind.Add((index, done)));
        if (cancellationToken.CanBeCanceled)
        {
            cancellationToken.UnsafeRegister(_ => loop.Resume(() => GiveUp(done)), null);
        }

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

        for (var i = _behind.Count - 1; i >= 0; i--)
        {
            if (_behind[i].Index <= applied)
            {
                Interlocked.Decrement(ref _count);
                _behind[i].Done.TrySetResult(_behind[i].Index);
                _behind.RemoveAt(i);
            }
        }
    }

    private bool TryCount([NotNullWhen(false)] out Task<LogIndex>? full)
    {
        full = null;
        if (Interlocked.Increment(ref _count) <= Limits.PendingReadsPerGroup)
        {
            return true;
        }

        Interlocked.Decrement(ref _count);
        full = Task.FromException<LogIndex>(
            Refusal.Overloaded($"The queue of reads of group {loop.Id}", TimeSpan.FromMilliseconds(20)));
        return false;
    }

    private void GiveUp(TaskCompletionSource<LogIndex> done)
    {
        if (_behind.RemoveAll(waiting => waiting.Done == done) > 0)
        {
            Interlocked.Decrement(ref _count);
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
