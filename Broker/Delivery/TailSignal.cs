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
public sealed class TailSignal(int maxWaiters = Limits.TailReaders, int maxWatches = Limits.Subscriptions)
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    // The arrays are never changed, only replaced under the lock, so Notify reads them without it.
    private readonly ConcurrentDictionary<string, TailWaiter[]> _waiters = new(StringComparer.Ordinal);
    private readonly Lock _registration = new();
    private int _count;
    private WatchTable _watches = new([]);

    /// <summary>Readers that hold a place.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether anybody follows a topic, by name or by filter.</summary>
    public bool HasReaders => Count > 0 || Volatile.Read(ref _watches).All.Length > 0;

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

    /// <summary>Takes a place at the tail of all topics that a filter matches.</summary>
    /// <exception cref="BrokerException">ResourceExhausted: all places are taken.</exception>
    internal TopicWatch Watch(TopicFilterSet filters)
    {
        lock (_registration)
        {
            if (_watches.All.Length >= maxWatches)
            {
                throw Refusal.Overloaded("The list of subscriptions to topics by filter", RetryAfter);
            }

            var watch = new TopicWatch(this, filters);
            Volatile.Write(ref _watches, new WatchTable([.. _watches.All, watch]));
            return watch;
        }
    }

    /// <summary>
    /// Wakes the readers of a topic that got records. For the apply thread: never blocks, is cheap without readers.
    /// </summary>
    public void Notify(string topic)
    {
        Interlocked.MemoryBarrier();
        _watches.Mark(topic);
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
        _watches.MarkAll();
        foreach (var (_, waiters) in _waiters)
        {
            foreach (var waiter in waiters)
            {
                waiter.Wake();
            }
        }
    }

    internal void Remove(TopicWatch watch)
    {
        lock (_registration)
        {
            var others = Array.FindAll(_watches.All, other => !ReferenceEquals(other, watch));
            Volatile.Write(ref _watches, new WatchTable(others));
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

    /// <summary>
    /// The watches of a moment, and who of them wants which topic: found once for a topic, then looked up.
    /// </summary>
    private sealed class WatchTable(TopicWatch[] all)
    {
        private readonly ConcurrentDictionary<string, TopicWatch[]> _wanting = new(StringComparer.Ordinal);

        public TopicWatch[] All => all;

        public void Mark(string topic)
        {
            if (all.Length == 0)
            {
                return;
            }

            if (!_wanting.TryGetValue(topic, out var wanting))
            {
                // Topics that were deleted stay in it: beyond what a cluster may have it begins anew.
                if (_wanting.Count >= Limits.Topics)
                {
                    _wanting.Clear();
                }

                wanting = Array.FindAll(all, watch => watch.Wants(topic));
                _wanting[topic] = wanting;
            }

            foreach (var watch in wanting)
            {
                watch.Mark(topic);
            }
        }

        public void MarkAll()
        {
            foreach (var watch in all)
            {
                watch.MarkAll();
            }
        }
    }
}
