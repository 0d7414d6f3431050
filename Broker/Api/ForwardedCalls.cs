using System.Collections.Concurrent;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Api;

/// <summary>A publish that this node brings to another one, or holds until it knows to which.</summary>
internal interface IForwardedCall
{
    GroupId Group { get; }

    int SizeBytes { get; }

    /// <summary>Told once; what comes after an answer is not heard.</summary>
    void Fail(BrokerException refusal);
}

/// <summary>
/// The publishes that this node holds for others: bounded in bytes, whatever clients send. When leadership of a group
/// has moved and the old leader, which may be paused or cut off, does not answer for what it was sent, the callers hear
/// that the outcome is unknown, and go to the new one.
/// </summary>
internal sealed class ForwardedCalls(
    long limitBytes,
    Func<GroupId, GroupStatus> statusOf,
    Func<GroupId, GroupStatus, CancellationToken, Task> waitForChange,
    TimeProvider time) : IAsyncDisposable
{
    /// <summary>How long an old leader may take to answer by itself, as it does when it hands over.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(500);

    /// <summary>What was sent, and to whom.</summary>
    private readonly ConcurrentDictionary<IForwardedCall, NodeId> _sent = new();

    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<GroupId, Task> _watching = new();
    private readonly CancellationTokenSource _stopping = new();
    private long _bytes;

    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Takes a publish in; false, and it is refused, when too much is held already.</summary>
    public bool TryEnter(IForwardedCall call)
    {
        if (Interlocked.Add(ref _bytes, call.SizeBytes) <= limitBytes)
        {
            return true;
        }

        Interlocked.Add(ref _bytes, -call.SizeBytes);
        call.Fail(Refusal.Overloaded("What this node holds for other nodes", TimeSpan.FromMilliseconds(100)));
        return false;
    }

    /// <summary>It is about to be sent to the leader of its group.</summary>
    public void Sending(IForwardedCall call, NodeId to)
    {
        _sent[call] = to;
        if (!_watching.ContainsKey(call.Group))
        {
            Watch(call.Group);
        }
    }

    /// <summary>It has been answered.</summary>
    public void Leave(IForwardedCall call)
    {
        _sent.TryRemove(call, out _);
        Interlocked.Add(ref _bytes, -call.SizeBytes);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        foreach (var watching in _watching.Values)
        {
            await watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        _stopping.Dispose();
    }

    private void Watch(GroupId group)
    {
        lock (_gate)
        {
            if (!_watching.ContainsKey(group))
            {
                var stopping = _stopping.Token;
                _watching[group] = Task.Run(() => WatchAsync(group, stopping), stopping);
            }
        }
    }

    /// <summary>A status changes with every commit, so a busy group is looked at once in the time of grace.</summary>
    private async Task WatchAsync(GroupId group, CancellationToken stopping)
    {
        while (true)
        {
            var seen = statusOf(group);
            await Task.Delay(Grace, time, stopping);
            var leader = statusOf(group).Leader;
            if (!leader.IsNone && leader == seen.Leader)
            {
                FailLeftBehind(group, leader);
            }

            await waitForChange(group, seen, stopping);
        }
    }

    private void FailLeftBehind(GroupId group, NodeId leader)
    {
        foreach (var (call, to) in _sent)
        {
            if (call.Group == group && to != leader)
            {
                call.Fail(Refusal.OutcomeUnknown(group));
            }
        }
    }
}
