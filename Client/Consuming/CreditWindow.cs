using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;

namespace Broker.Client.Consuming;

/// <summary>
/// What is out at a consumer of what it may have: a delivery takes from the window, and gives back when it is settled
/// or its lease is over, whatever became of it. The broker keeps one for a consumer that leaves its credit to it, the
/// client one for each of its own. Any thread.
/// </summary>
/// <param name="leaseMs">How long a delivery is the consumer's.</param>
internal sealed class CreditWindow(long leaseMs)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ByteString, OutDelivery> _out = [];
    private readonly List<ByteString> _over = [];

    /// <summary>What is out.</summary>
    public (int Records, long Bytes) Out
    {
        get
        {
            lock (_lock)
            {
                return (_out.Values.Sum(static each => each.Records), _out.Values.Sum(static each => each.Bytes));
            }
        }
    }

    /// <summary>A delivery goes to the consumer.</summary>
    public OutDelivery Take(ByteString token, int records, long bytes, long nowMs)
    {
        var delivery = new OutDelivery(token, records, bytes, nowMs + leaseMs);
        lock (_lock)
        {
            _out[token] = delivery;
        }

        return delivery;
    }

    /// <summary>Records of a delivery are settled, or not the consumer's any more; what that gives back.</summary>
    /// <param name="token">Of the delivery.</param>
    /// <param name="first">The first of them.</param>
    /// <param name="count">How many; 0: all from the first on.</param>
    public (int Records, long Bytes) GiveBack(ByteString token, int first, int count)
    {
        lock (_lock)
        {
            return TryFind(token, out var delivery)
                ? TakeFrom(delivery, count == 0 ? delivery.Records - first : count)
                : default;
        }
    }

    /// <summary>The same of one record, by who knows the delivery.</summary>
    public (int Records, long Bytes) GiveBackOne(OutDelivery delivery)
    {
        lock (_lock)
        {
            return TakeFrom(delivery, 1);
        }
    }

    /// <summary>The consumer keeps records for longer.</summary>
    /// <param name="token">Of the delivery.</param>
    /// <param name="forMs">From now on; null: as long as a lease is at first.</param>
    /// <param name="nowMs">The time.</param>
    public void Extend(ByteString token, long? forMs, long nowMs)
    {
        lock (_lock)
        {
            if (TryFind(token, out var delivery))
            {
                delivery.UntilMs = Math.Max(delivery.UntilMs, nowMs + (forMs ?? leaseMs));
            }
        }
    }

    /// <summary>What those give back of which the leases are over.</summary>
    public (int Records, long Bytes) Expire(long nowMs)
    {
        lock (_lock)
        {
            var (records, bytes) = (0, 0L);
            foreach (var (token, delivery) in _out)
            {
                if (delivery.UntilMs <= nowMs)
                {
                    _over.Add(token);
                    records += delivery.Records;
                    bytes += delivery.Bytes;
                    (delivery.Records, delivery.Bytes) = (0, 0);
                }
            }

            _over.ForEach(token => _out.Remove(token));
            _over.Clear();
            return (records, bytes);
        }
    }

    private bool TryFind(ByteString token, [NotNullWhen(true)] out OutDelivery? delivery) =>
        _out.TryGetValue(token, out delivery);

    /// <summary>Records that are named twice give back twice, but no delivery gives more than it took.</summary>
    private (int Records, long Bytes) TakeFrom(OutDelivery delivery, int count)
    {
        var records = Math.Clamp(count, 0, delivery.Records);
        if (records == 0)
        {
            return default;
        }

        var bytes = records == delivery.Records ? delivery.Bytes : delivery.Bytes / delivery.Records * records;
        delivery.Records -= records;
        delivery.Bytes -= bytes;
        if (delivery.Records == 0 && TryFind(delivery.Token, out var known) && known == delivery)
        {
            _out.Remove(delivery.Token);
        }

        return (records, bytes);
    }
}

/// <summary>A delivery that takes from a <see cref="CreditWindow"/>, which alone changes it.</summary>
internal sealed class OutDelivery(ByteString token, int records, long bytes, long untilMs)
{
    public ByteString Token { get; } = token;

    public int Records { get; set; } = records;

    public long Bytes { get; set; } = bytes;

    public long UntilMs { get; set; } = untilMs;
}
