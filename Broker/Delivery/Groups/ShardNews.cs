using System.Collections.Concurrent;
using Broker.Domain;

namespace Broker.Delivery;

/// <summary>
/// What a shard's groups hear from other threads, and what wakes them. The thread that applies says which topics have
/// changed; while nobody serves groups here it costs that thread a look at a flag.
/// </summary>
internal sealed class ShardNews
{
    private readonly ConcurrentDictionary<string, byte> _places = new(StringComparer.Ordinal);
    private readonly WakeUp _wakeUp = new();
    private volatile bool _isHeard;
    private volatile bool _isAll;

    /// <summary>Whether anybody wants to hear of topics.</summary>
    public bool IsHeard
    {
        get => _isHeard;
        set => _isHeard = value;
    }

    /// <summary>A topic has more records, or is new, or gone. After it is visible. Never blocks.</summary>
    public void Note(string place)
    {
        if (_isHeard)
        {
            // Whoever looks takes the name out first, so what comes after its look puts it in again.
            _places.TryAdd(place, 0);
            Wake();
        }
    }

    /// <summary>Any topic may have changed.</summary>
    public void NoteAll()
    {
        _isAll = true;
        Wake();
    }

    public void Wake() => _wakeUp.Set();

    public ValueTask WaitAsync(CancellationToken cancellationToken) => _wakeUp.WaitAsync(cancellationToken);

    /// <summary>Whether all topics are to be looked at.</summary>
    public bool TakeAll()
    {
        var isAll = _isAll;
        _isAll = false;
        return isAll;
    }

    /// <summary>Takes the names of the topics that have changed.</summary>
    public void TakePlaces(List<string> into)
    {
        foreach (var (place, _) in _places)
        {
            if (_places.TryRemove(place, out _))
            {
                into.Add(place);
            }
        }
    }
}

/// <summary>The news of all shards.</summary>
internal sealed class GroupNews
{
    private readonly ConcurrentDictionary<GroupId, ShardNews> _shards = new();

    public ShardNews Of(GroupId shard) => _shards.GetOrAdd(shard, static _ => new ShardNews());

    public void WakeAll()
    {
        foreach (var (_, news) in _shards)
        {
            news.Wake();
        }
    }
}
