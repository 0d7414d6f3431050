using Broker.Cluster;
using Broker.Domain;

namespace Broker.Api;

/// <summary>
/// Publishes to one group while nobody is known to lead it, in the order in which they came: what comes later goes
/// behind them, as the messages of a topic keep the order of a stream. They leave together when there is a leader. When
/// none is found in time, all that wait are refused.
/// </summary>
internal sealed class WaitingCalls(BrokerNode node, GroupId group, Func<PublishCall, bool, bool> tryDispatch)
{
    private readonly Lock _gate = new();
    private readonly Queue<(PublishCall Call, bool Forwarded, CancellationToken Ended)> _calls = new();
    private volatile int _count; // sinks only when the first has left, so that nothing passes it
    private long _bytes;

    public bool IsEmpty => _count == 0;

    public void Add(PublishCall call, bool forwarded, CancellationToken ended)
    {
        var isFirst = false;
        bool isFull;
        lock (_gate)
        {
            isFull = _count >= Limits.WaitingProposalsPerGroup
                || _bytes + call.SizeBytes > Limits.WaitingProposalBytesPerGroup;
            if (!isFull)
            {
                _calls.Enqueue((call, forwarded, ended));
                _bytes += call.SizeBytes;
                isFirst = ++_count == 1;
            }
        }

        if (isFull)
        {
            call.Fail(Refusal.Overloaded(
                $"The queue of publishes to group {group}, which has no leader,", TimeSpan.FromMilliseconds(100)));
        }
        else if (isFirst)
        {
            _ = LeaveAsync();
        }
    }

    private async Task LeaveAsync()
    {
        try
        {
            await PassOnAsync();
        }
        catch (Exception unexpected)
        {
            // Whatever waits here would wait for ever, and what comes later behind it.
            node.Fail(unexpected);
        }
    }

    private async Task PassOnAsync()
    {
        do
        {
            var (call, forwarded, ended) = Peek();
            try
            {
                ended.ThrowIfCancellationRequested();
                while (!tryDispatch(call, forwarded))
                {
                    await node.WaitForLeaderAsync(group, ended);
                }
            }
            catch (OperationCanceledException)
            {
                call.Fail(Refusal.NoLeader(group));
            }
            catch (BrokerException refusal)
            {
                call.Fail(refusal);
                while (TryPassOn())
                {
                    Peek().Call.Fail(refusal);
                }

                return;
            }
        }
        while (TryPassOn());
    }

    private (PublishCall Call, bool Forwarded, CancellationToken Ended) Peek()
    {
        lock (_gate)
        {
            return _calls.Peek();
        }
    }

    /// <summary>The first has left. False: it was the last, and the next to come begins anew.</summary>
    private bool TryPassOn()
    {
        lock (_gate)
        {
            _bytes -= _calls.Dequeue().Call.SizeBytes;
            return --_count > 0;
        }
    }
}
