using System.Diagnostics.CodeAnalysis;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// One subscriber's place at the tail of all topics that its filters match: the names of those in which there may be
/// something new, each once, in the order in which they got it. What is new is in the log; so a subscriber that is slow
/// holds names here, and no message.
/// </summary>
internal sealed class TopicWatch(TailSignal signal, TopicFilterSet filters) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly HashSet<string> _marked = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();
    private readonly WakeUp _wakeUp = new();

    private bool _isAllMarked;
    private int _disposed;

    /// <param name="name">A topic's name, or that of one of its partitions.</param>
    public bool Wants(string name) => !DueTopic.IsOne(name) && filters.Matches(PartitionName.Parse(name).Topic);

    /// <summary>There may be something new in a topic that is wanted. Any thread; never blocks for long.</summary>
    public void Mark(string topic)
    {
        lock (_lock)
        {
            if (!_marked.Add(topic))
            {
                return;
            }

            _order.Enqueue(topic);
        }

        _wakeUp.Set();
    }

    /// <summary>There may be something new in any topic, in such that were never marked, too.</summary>
    public void MarkAll()
    {
        lock (_lock)
        {
            _isAllMarked = true;
        }

        _wakeUp.Set();
    }

    /// <summary>Whether all topics were marked since the last call.</summary>
    public bool TakeAll()
    {
        lock (_lock)
        {
            var taken = _isAllMarked;
            _isAllMarked = false;
            return taken;
        }
    }

    /// <summary>
    /// The topic that was marked first. It is marked anew by what comes from now on: take it, then look into it.
    /// </summary>
    public bool TryTake([NotNullWhen(true)] out string? topic)
    {
        lock (_lock)
        {
            if (!_order.TryDequeue(out topic))
            {
                return false;
            }

            _marked.Remove(topic);
            return true;
        }
    }

    /// <summary>Ends at once when something was marked since the last call, otherwise when it is.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken) => _wakeUp.WaitAsync(cancellationToken);

    /// <summary>Gives the place back.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            signal.Remove(this);
        }
    }
}
