using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// A shard's topics. One thread adds, any number look topics up by name meanwhile. A topic is added with its first
/// batch in it and never removed.
/// </summary>
internal sealed class TopicTable
{
    private readonly ConcurrentDictionary<string, TopicState> _byName = new(Utf8TopicComparer.Instance);
    private readonly ConcurrentDictionary<string, TopicState>.AlternateLookup<ReadOnlySpan<byte>> _byUtf8;

    // For the thread that adds alone; a topic stands at its number.
    private readonly List<TopicState> _byNumber = [];

    // ConcurrentDictionary.Count takes every lock; the one writer can count by itself.
    private int _count;
    private TopicState[] _sorted = [];

    public TopicTable()
    {
        _byUtf8 = _byName.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    public int Count => Volatile.Read(ref _count);

    /// <summary>By number, for the thread that adds.</summary>
    public IReadOnlyList<TopicState> Numbered => _byNumber;

    /// <summary>
    /// Ordered by name, for any thread: sorted again only when topics have come since, so that going through the pages
    /// of a list is cheap.
    /// </summary>
    public TopicState[] ByName
    {
        get
        {
            var sorted = Volatile.Read(ref _sorted);
            if (sorted.Length != Count)
            {
                sorted = [.. All.OrderBy(static topic => topic.Name, StringComparer.Ordinal)];
                Volatile.Write(ref _sorted, sorted);
            }

            return sorted;
        }
    }

    /// <summary>In no order, for any thread.</summary>
    public IEnumerable<TopicState> All => _byName.Select(static pair => pair.Value);

    public bool TryGet(string name, [NotNullWhen(true)] out TopicState? topic) =>
        _byName.TryGetValue(name, out topic);

    public bool TryGet(ReadOnlySpan<byte> utf8Name, [NotNullWhen(true)] out TopicState? topic) =>
        _byUtf8.TryGetValue(utf8Name, out topic);

    /// <summary>False: there is one of that name.</summary>
    public bool TryAdd(TopicState topic)
    {
        Invariant.Check(topic.Number == _count, "topics are numbered in the order in which they come to be");
        if (!_byName.TryAdd(topic.Name, topic))
        {
            return false;
        }

        _byNumber.Add(topic);
        Volatile.Write(ref _count, _count + 1);
        return true;
    }
}
