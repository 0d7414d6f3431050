using Broker.Delivery;
using Broker.Domain;
using Google.Protobuf;

namespace Broker.Api;

/// <summary>
/// The credit of a consumer that leaves it to the server: what was delivered to it takes from it, and gives back when
/// it is settled on the same stream or its lease is over, whatever became of it. One caller at a time.
/// </summary>
/// <param name="leaseMs">How long a delivery is the consumer's.</param>
internal sealed class CreditWindow(long leaseMs)
{
    private readonly Dictionary<ByteString, Delivered> _out = [];
    private readonly List<ByteString> _over = [];

    /// <summary>What the consumer begins with.</summary>
    public static (int Records, long Bytes) Whole => (Limits.GroupWindowRecords, Limits.GroupWindowBytes);

    /// <summary>A delivery is on its way to the consumer.</summary>
    public void Take(in GroupDelivery delivery, long nowUnixMs) =>
        _out[UnsafeByteOperations.UnsafeWrap(delivery.Token)] =
            new Delivered(delivery.Count, delivery.Batch.Length, nowUnixMs + leaseMs);

    /// <summary>Records of a delivery are settled, or not the consumer's any more; what that gives back.</summary>
    public (int Records, long Bytes) GiveBack(in SettleOrder order)
    {
        var token = UnsafeByteOperations.UnsafeWrap(order.Token);
        if (!_out.TryGetValue(token, out var delivered))
        {
            return default;
        }

        // Records that are named twice give back twice, but no delivery more than it took.
        var records = order.Count == 0 ? delivered.Records - order.First : order.Count;
        records = Math.Clamp(records, 0, delivered.Records);
        var bytes = records == delivered.Records
            ? delivered.Bytes
            : delivered.Bytes / delivered.Records * records;
        if (records == delivered.Records)
        {
            _out.Remove(token);
        }
        else
        {
            _out[token] = delivered with { Records = delivered.Records - records, Bytes = delivered.Bytes - bytes };
        }

        return (records, bytes);
    }

    /// <summary>The consumer keeps records for longer.</summary>
    public void Extend(in SettleOrder order, long nowUnixMs)
    {
        var token = UnsafeByteOperations.UnsafeWrap(order.Token);
        if (_out.TryGetValue(token, out var delivered))
        {
            var until = Math.Max(delivered.UntilUnixMs, nowUnixMs + (order.DelayMs ?? leaseMs));
            _out[token] = delivered with { UntilUnixMs = until };
        }
    }

    /// <summary>What those give back of which the leases are over.</summary>
    public (int Records, long Bytes) Expire(long nowUnixMs)
    {
        var (records, bytes) = (0, 0L);
        foreach (var (token, delivered) in _out)
        {
            if (delivered.UntilUnixMs <= nowUnixMs)
            {
                _over.Add(token);
                records += delivered.Records;
                bytes += delivered.Bytes;
            }
        }

        _over.ForEach(token => _out.Remove(token));
        _over.Clear();
        return (records, bytes);
    }

    private readonly record struct Delivered(int Records, long Bytes, long UntilUnixMs);
}
