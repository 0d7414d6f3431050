using System.Threading.Channels;

namespace Broker.Delivery;

/// <summary>
/// Wakes one waiter. At most one wake-up is remembered, so one between a look and the wait is not missed, and a
/// thousand wake it once; one may come without anything new: look, and wait again. The waiter goes on in the thread
/// pool, never on the thread that wakes it.
/// </summary>
internal sealed class WakeUp
{
    private readonly Channel<bool> _signals = Channel.CreateBounded<bool>(new BoundedChannelOptions(1)
    {
        FullMode = BoundedChannelFullMode.DropWrite,
        SingleReader = true,
        AllowSynchronousContinuations = false,
    });

    /// <summary>Any thread; never blocks.</summary>
    public void Set() => _signals.Writer.TryWrite(true);

    /// <summary>Ends at once when it was woken since the last call, otherwise when it is.</summary>
    public async ValueTask WaitAsync(CancellationToken cancellationToken) =>
        await _signals.Reader.ReadAsync(cancellationToken);
}
