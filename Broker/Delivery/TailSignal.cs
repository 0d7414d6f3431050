using System.Collections.Concurrent;
using Broker.Domain;

namespace Broker.Delivery;

/// <summary>
/// Wakes readers when their topic gets records, its very first ones too, without polling. A reader registers, looks at
/// the topic, and waits only when there is nothing new; the apply thread makes a batch visible, then calls <see
/// cref="Notify"/>.
/// <para>
/// No wake-up is lost: registering ends with a full fence (the lock) before the reader looks, and Notify begins with a
/// full fence after the batch became visible. So either the reader's look comes after the batch, or Notify sees the
/// waiter.
/// </para>
/// </summary>
public sealed class TailSignal(int maxWaiters = Limits.TailReaders)
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    // The arrays are never changed, only replaced under the lock, so Notify reads them without it.
    private readonly ConcurrentDictionary<string, TailWaiter[]> _waiters = new(StringComparer.Ordinal);
    private readonly Lock _registration = new();
    private int _count;

    /// <summary>Readers that hold a place.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Takes a place at the tail of a topic, which need not exist yet.</summary>
    /// <exception cref="BrokerException">ResourceExhausted: all places are taken.</exception>
    public TailWaiter Register(string topic)
    {
        lock (_registration)
        {
            if (_count >= maxWaiters)
            {
                throw Refusal.Overloaded("The list of readers that follow topics", RetryAfter);
            }

            var waiter = new TailWaiter(this, topic);
            _waiters[topic] = _waiters.TryGetValue(topic, out var others) ? [.. others, waiter] : [waiter];
            _count++;
            return waiter;
        }
    }

    /// <summary>
    /// Wakes the readers of a topic that got records. For the apply thread: never blocks, is cheap without readers.
    /// </summary>
    public void Notify(string topic)
    {
        Interlocked.MemoryBarrier();
        if (_count == 0 || !_waiters.TryGetValue(topic, out var waiters))
        {
            return;
        }

        foreach (var waiter in waiters)
        {
            waiter.Wake();
        }
    }

    /// <summary>Wakes all readers: any topic may have got records. For the apply thread.</summary>
    public void NotifyAll()
    {
        Interlocked.MemoryBarrier();
        foreach (var (_, waiters) in _waiters)
        {
            foreach (var waiter in waiters)
            {
                waiter.Wake();
            }
        }
    }

    internal void Remove(TailWaiter waiter)
    {
        lock (_registration)
        {
            _count--;
            var others = Array.FindAll(_waiters[waiter.Topic], other => !ReferenceEquals(other, waiter));
            if (others.Length > 0)
            {
                _waiters[waiter.Topic] = others;
            }
            else
            {
                _waiters.TryRemove(waiter.Topic, out _);
            }
        }
    }
}
