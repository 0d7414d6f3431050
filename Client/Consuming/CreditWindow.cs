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
    private readonly Dictionary<ByteString, Delivered> _out = [];
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
    public void Take(ByteString token, int records, long bytes, long nowMs)
    {
        lock (_lock)
        {
            _out[token] = new Delivered(records, bytes, nowMs + leaseMs);
        }
    }

    /// <summary>Records of a delivery are settled, or not the consumer's any more; what that gives back.</summary>
    /// <param name="token">Of the delivery.</param>
    /// <param name="first">The first of them.</param>
    /// <param name="count">How many; 0: all from the first on.</param>
    public (int Records, long Bytes) GiveBack(ByteString token, int first, int count)
    {
        lock (_lock)
        {
            if (!_out.TryGetValue(token, out var delivered))
            {
                return default;
            }

            // Records that are named twice give back twice, but no delivery gives more than it took.
            var records = Math.Clamp(count == 0 ? delivered.Records - first : count, 0, delivered.Records);
            if (records == delivered.Records)
            {
                _out.Remove(token);
                return (delivered.Records, delivered.Bytes);
            }

            var bytes = delivered.Bytes / delivered.Records * records;
            _out[token] = delivered with { Records = delivered.Records - records, Bytes = delivered.Bytes - bytes };
            return (records, bytes);
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
            if (_out.TryGetValue(token, out var delivered))
            {
                _out[token] = delivered with
                {
                    UntilMs = Math.Max(delivered.UntilMs, nowMs + (forMs ?? leaseMs)),
                };
            }
        }
    }

    /// <summary>What those give back of which the leases are over.</summary>
    public (int Records, long Bytes) Expire(long nowMs)
    {
        lock (_lock)
        {
            var (records, bytes) = (0, 0L);
            foreach (var (token, delivered) in _out)
            {
                if (delivered.UntilMs <= nowMs)
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
    }

    private readonly record struct Delivered(int Records, long Bytes, long UntilMs);
}
