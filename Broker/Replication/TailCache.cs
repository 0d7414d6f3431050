using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// The newest entries of a group's log in memory: what followers, apply and readers at the tail want is here, so that
/// the disk is only written. Entries that are not yet both durable here and applied are never evicted; beyond that a
/// byte budget holds. Written by the loop, read by any thread.
/// </summary>
internal sealed class TailCache(long budgetBytes)
{
    private readonly Lock _lock = new();
    private LogEntry?[] _ring = new LogEntry?[1024];
    private long _first = 1; // index of the oldest entry held; the cache is empty when _first == _next
    private long _next = 1;
    private long _bytes;

    /// <summary>Where a recovered log ends: the cache begins empty behind it.</summary>
    public void Reset(LogIndex last)
    {
        lock (_lock)
        {
            _first = _next = last.Value + 1;
            _bytes = 0;
            Array.Clear(_ring);
        }
    }

    public void Append(LogEntry entry)
    {
        lock (_lock)
        {
            Invariant.Check(entry.Index.Value == _next, "an entry follows the cache's last one");
            if (_next - _first == _ring.Length)
            {
                Grow();
            }

            _ring[_next % _ring.Length] = entry;
            _next++;
            _bytes += entry.SizeBytes;
        }
    }

    /// <summary>Drops every entry at or after index.</summary>
    public void TruncateFrom(LogIndex index)
    {
        lock (_lock)
        {
            while (_next > _first && _next > index.Value)
            {
                Drop(--_next);
            }

            if (_next > index.Value)
            {
                _first = _next = index.Value;
            }
        }
    }

    /// <summary>Evicts the oldest entries beyond the budget, up to and including upTo.</summary>
    public void Evict(LogIndex upTo)
    {
        if (Volatile.Read(ref _bytes) <= budgetBytes)
        {
            return;
        }

        lock (_lock)
        {
            while (_bytes > budgetBytes && _first < _next && _first <= upTo.Value)
            {
                Drop(_first++);
            }
        }
    }

    public LogEntry? TryGet(LogIndex index)
    {
        lock (_lock)
        {
            return index.Value >= _first && index.Value < _next ? _ring[index.Value % _ring.Length] : null;
        }
    }

    /// <summary>Adds the entries from..to while maxBytes lasts, at least one; 0 when the first is not here.</summary>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        lock (_lock)
        {
            if (from.Value < _first || from.Value >= _next)
            {
                return 0;
            }

            var count = 0;
            long bytes = 0;
            for (var i = from.Value; i <= to.Value && i < _next; i++)
            {
                var entry = _ring[i % _ring.Length]!;
                bytes += entry.SizeBytes;
                if (count > 0 && bytes > maxBytes)
                {
                    break;
                }

                into.Add(entry);
                count++;
            }

            return count;
        }
    }

    private void Drop(long index)
    {
        ref var slot = ref _ring[index % _ring.Length];
        _bytes -= slot!.SizeBytes;
        slot = null;
    }

    private void Grow()
    {
        var larger = new LogEntry?[_ring.Length * 2];
        for (var i = _first; i < _next; i++)
        {
            larger[i % larger.Length] = _ring[i % _ring.Length];
        }

        _ring = larger;
    }
}
