using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// The snapshots that are on their way to this node: at most one for each group, and all of them within
/// <see cref="Limits.SnapshotBytes"/>. What a broken stream has brought is kept for a while, so that the next one goes
/// on from there.
/// </summary>
internal sealed class SnapshotInbox : IDisposable
{
    /// <summary>A leader that has not come back in so long has other worries, or is none any more.</summary>
    public static readonly TimeSpan KeepTime = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<uint, SnapshotArrival> _arrivals = [];
    private readonly TimeProvider _time;
    private readonly ITimer _sweeper;

    public SnapshotInbox(TimeProvider time)
    {
        _time = time;
        _sweeper = time.CreateTimer(_ => Sweep(), null, KeepTime / 4, KeepTime / 4);
    }

    /// <summary>Bytes that arrivals hold or are going to hold.</summary>
    public long ReservedBytes
    {
        get
        {
            lock (_gate)
            {
                return _arrivals.Values.Sum(static arrival => (long)arrival.Data.Length);
            }
        }
    }

    /// <summary>
    /// The arrival that an offer begins or continues; the stream that asks becomes its owner, an older one's next chunk
    /// is refused.
    /// </summary>
    /// <exception cref="RpcException">ABORTED or RESOURCE_EXHAUSTED.</exception>
    public SnapshotArrival Open(SnapshotOffer offer, object owner)
    {
        lock (_gate)
        {
            var group = offer.Message.Group;
            if (_arrivals.TryGetValue(group, out var arrival))
            {
                if (arrival.Message.Term > offer.Message.Term)
                {
                    throw PeerTransfer.Refuse(StatusCode.Aborted, "A leader of a newer term sends its snapshot.");
                }

                // A leader's base never goes back, so this offer was overtaken by a later one of the same leader.
                if (arrival.Message.Term == offer.Message.Term && arrival.Message.LogIndex > offer.Message.LogIndex)
                {
                    throw PeerTransfer.Refuse(StatusCode.Aborted, "A newer snapshot is on its way already.");
                }

                if (arrival.IsSameAs(offer))
                {
                    arrival.Own(owner, offer.Message, _time.GetTimestamp());
                    return arrival;
                }
            }

            // What the newer offer replaces makes room for it.
            var others = _arrivals.Where(each => each.Key != group).Sum(static each => (long)each.Value.Data.Length);
            if (others + (long)offer.SizeBytes > Limits.SnapshotBytes)
            {
                throw PeerTransfer.Refuse(StatusCode.ResourceExhausted, "Snapshots of other groups arrive just now.");
            }

            arrival?.Disown();
            arrival = new SnapshotArrival(offer);
            arrival.Own(owner, offer.Message, _time.GetTimestamp());
            _arrivals[group] = arrival;
            return arrival;
        }
    }

    /// <summary>Adds a chunk of the stream that owns the arrival.</summary>
    /// <exception cref="RpcException">ABORTED, INVALID_ARGUMENT or DATA_LOSS.</exception>
    public void Append(SnapshotArrival arrival, object owner, SnapshotChunk chunk)
    {
        lock (_gate)
        {
            arrival.Append(owner, chunk, _time.GetTimestamp());
        }
    }

    /// <summary>
    /// Has a complete arrival installed, once however many streams ask; they all get the task of its outcome.
    /// </summary>
    public Task<SnapshotOutcome> InstallOnce(
        SnapshotArrival arrival, Action<PeerMessage, ReadOnlyMemory<byte>, Action<bool, long>> install)
    {
        TaskCompletionSource<SnapshotOutcome> outcome;
        lock (_gate)
        {
            if (arrival.Installation is { } underWay)
            {
                return underWay.Task;
            }

            outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);
            arrival.Installation = outcome;
        }

        if (!arrival.IsIntact())
        {
            Finish(arrival, new SnapshotOutcome(IsIntact: false, Installed: false, 0), outcome);
            return outcome.Task;
        }

        install(
            arrival.Message,
            arrival.Data,
            (installed, term) => Finish(arrival, new SnapshotOutcome(IsIntact: true, installed, term), outcome));
        return outcome.Task;
    }

    public void Dispose() => _sweeper.Dispose();

    /// <summary>
    /// That it is installed is remembered for a while, without the data. What was not installed may be wrong, so it
    /// comes anew.
    /// </summary>
    private void Finish(
        SnapshotArrival arrival, SnapshotOutcome result, TaskCompletionSource<SnapshotOutcome> outcome)
    {
        lock (_gate)
        {
            var group = arrival.Message.Group;
            if (result.Installed)
            {
                arrival.ReleaseData();
            }
            else if (_arrivals.TryGetValue(group, out var current) && current == arrival)
            {
                _arrivals.Remove(group);
            }
        }

        outcome.TrySetResult(result);
    }

    private void Sweep()
    {
        lock (_gate)
        {
            foreach (var (group, arrival) in _arrivals)
            {
                if (_time.GetElapsedTime(arrival.TouchedAt) > KeepTime)
                {
                    arrival.Disown();
                    _arrivals.Remove(group);
                }
            }
        }
    }
}
