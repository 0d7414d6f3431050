using System.Threading.Channels;

namespace Broker.Client.Publishing;

/// <summary>
/// The producers of atomic publishes. Each call takes one for as long as it lasts, and stamps its parts with an epoch
/// of the producer that no call had before it: so every sequence may begin at 0, in whatever topics and partitions, and
/// a try that comes late is fenced, not stored again.
/// </summary>
internal sealed class AtomicLanes
{
    /// <summary>Calls under way at a time; topics remember so many producers of each client.</summary>
    private const int Count = 16;

    private readonly Channel<AtomicLane> _free = Channel.CreateBounded<AtomicLane>(Count);

    public AtomicLanes(Func<ulong> newId)
    {
        for (var i = 0; i < Count; i++)
        {
            _free.Writer.TryWrite(new AtomicLane(newId()));
        }
    }

    public ValueTask<AtomicLane> TakeAsync(CancellationToken cancellationToken) =>
        _free.Reader.ReadAsync(cancellationToken);

    public void GiveBack(AtomicLane lane)
    {
        lane.Epoch++;
        _free.Writer.TryWrite(lane);
    }
}

/// <param name="id">Of the producer.</param>
internal sealed class AtomicLane(ulong id)
{
    public ulong Id => id;

    public uint Epoch { get; set; }
}
