using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>A shard's topics. One thread adds and removes, any number look topics up by name meanwhile.</summary>
internal sealed class TopicTable
{
    private readonly ConcurrentDictionary<string, TopicState> _byName = new(Utf8TopicComparer.Instance);
    private readonly ConcurrentDictionary<string, TopicState>.AlternateLookup<ReadOnlySpan<byte>> _byUtf8;

    // For the thread that adds alone, in rising order of the numbers.
    private readonly List<TopicState> _byNumber = [];

    // ConcurrentDictionary.Count takes every lock; the one writer can count by itself.
    private int _count;
    private int _nextNumber;
    private long _version;
    private Sorted _sorted = new(0, []);

    /// <param name="nextNumber">The number that the next new topic gets.</param>
    public TopicTable(int nextNumber = 0)
    {
        _nextNumber = nextNumber;
        _byUtf8 = _byName.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    private sealed record Sorted(long Version, TopicState[] Topics);

    public int Count => Volatile.Read(ref _count);

    /// <summary>Grows whenever a topic comes or goes.</summary>
    public long Version => Volatile.Read(ref _version);

    /// <summary>The number that the next new topic gets; any thread may ask.</summary>
    public int NextNumber => Volatile.Read(ref _nextNumber);

    /// <summary>By number, for the thread that adds.</summary>
    public IReadOnlyList<TopicState> Numbered => _byNumber;

    /// <summary>
    /// Ordered by name, for any thread: sorted again only when topics have come or gone since, so that going through
    /// the pages of a list is cheap.
    /// </summary>
    public TopicState[] ByName
    {
        get
        {
            var version = Volatile.Read(ref _version);
            var sorted = Volatile.Read(ref _sorted);
            if (sorted.Version != version)
            {
                sorted = new Sorted(version, [.. All.OrderBy(static topic => topic.Name, StringComparer.Ordinal)]);
                Volatile.Write(ref _sorted, sorted);
            }

            return sorted.Topics;
        }
    }

    /// <summary>Those after a name, ordered by name, for any thread.</summary>
    public ReadOnlySpan<TopicState> NamedAfter(string name)
    {
        var topics = ByName;
        var (low, high) = (0, topics.Length);
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            (low, high) = string.CompareOrdinal(topics[middle].Name, name) > 0 ? (low, middle) : (middle + 1, high);
        }

        return topics.AsSpan(low);
    }

    /// <summary>In no order, for any thread.</summary>
    public IEnumerable<TopicState> All => _byName.Select(static pair => pair.Value);

    public bool TryGet(string name, [NotNullWhen(true)] out TopicState? topic) =>
        _byName.TryGetValue(name, out topic);

    public bool TryGet(ReadOnlySpan<byte> utf8Name, [NotNullWhen(true)] out TopicState? topic) =>
        _byUtf8.TryGetValue(utf8Name, out topic);

    /// <summary>For the thread that adds; null: it was deleted, or never came to be.</summary>
    public TopicState? Find(int number)
    {
        var (low, high) = (0, _byNumber.Count - 1);
        while (low <= high)
        {
            var middle = low + ((high - low) / 2);
            if (_byNumber[middle].Number == number)
            {
                return _byNumber[middle];
            }

            (low, high) = _byNumber[middle].Number < number ? (middle + 1, high) : (low, middle - 1);
        }

        return null;
    }

    /// <summary>False: there is one of that name.</summary>
    public bool TryAdd(TopicState topic)
    {
        Invariant.Check(
            _byNumber.Count == 0 || topic.Number > _byNumber[^1].Number,
            "topics are numbered in the order in which they come to be");
        if (!_byName.TryAdd(topic.Name, topic))
        {
            return false;
        }

        _byNumber.Add(topic);
        Volatile.Write(ref _nextNumber, Math.Max(_nextNumber, topic.Number + 1));
        Volatile.Write(ref _count, _count + 1);
        Volatile.Write(ref _version, _version + 1);
        return true;
    }

    /// <summary>Its number is not given again.</summary>
    public void Remove(TopicState topic)
    {
        var isRemoved = _byName.TryRemove(topic.Name, out _) && _byNumber.Remove(topic);
        Invariant.Check(isRemoved, "a topic that is removed was there");
        Volatile.Write(ref _count, _count - 1);
        Volatile.Write(ref _version, _version + 1);
    }
}
