using System.Diagnostics.CodeAnalysis;

namespace Broker.Replication;

/// <summary>
/// The queue of a thread of its own, which sleeps while there is nothing to do. (The taker of a BlockingCollection
/// first asks the scheduler again and again for another turn: with a write at a time that was a third of a node's
/// processor time.) Bounded by its callers.
/// </summary>
internal sealed class WorkQueue<T>
{
    private readonly object _gate = new(); // a Lock has no Wait
    private readonly Queue<T> _items = new();
    private bool _closed;

    /// <summary>Gives the thread something to do; nothing any more when the queue is closed.</summary>
    public void Add(T item)
    {
        lock (_gate)
        {
            if (!_closed)
            {
                _items.Enqueue(item);
                Monitor.Pulse(_gate);
            }
        }
    }

    /// <summary>Waits for something to do. False: the queue is closed, and what still waits is given up.</summary>
    public bool TryTake([MaybeNullWhen(false)] out T item)
    {
        lock (_gate)
        {
            while (!_closed && _items.Count == 0)
            {
                Monitor.Wait(_gate);
            }

            item = default;
            return !_closed && _items.TryDequeue(out item);
        }
    }

    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            Monitor.Pulse(_gate);
        }
    }
}
