using System.Numerics;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Finds the topics of an entry's publishes before the first one is applied. What a topic has lies in a dozen places of
/// memory, each known by the one before; of thousands of topics none is in a near cache. Looked at one publish after
/// another, every place is waited for. Looked at together, the processor loads those of several topics at once.
/// </summary>
internal sealed class TopicLookahead
{
    // What these topics have fits into a near cache; publishes beyond look for theirs by themselves.
    private const int MaxPublishes = 512;

    private Found[] _found = [];
    private TopicTable? _table;
    private long _version;
    private int _count;
    private int _next;

    private record struct Found(int Position, TopicState? Topic);

    /// <summary>For the thread that applies, at the beginning of an entry.</summary>
    /// <returns>A number without a meaning, so that nobody can leave out the loads.</returns>
    public long Look(LogEntry entry, TopicTable topics)
    {
        (_table, _version, _count, _next) = (topics, topics.Version, 0, 0);
        if (entry.Count < 2)
        {
            return 0;
        }

        Find(entry, topics);
        var touched = 0L;
        foreach (var (_, topic) in _found.AsSpan(0, _count))
        {
            touched += topic?.Touch() ?? 0;
        }

        return touched;
    }

    /// <summary>
    /// What was found for the publish of this position; null: no topic. False: it was not looked for, or topics have
    /// come or gone since.
    /// </summary>
    public bool TryTake(int position, TopicTable topics, out TopicState? topic)
    {
        while (_next < _count && _found[_next].Position < position)
        {
            _next++;
        }

        var isFound = _next < _count && _found[_next].Position == position
            && _table == topics && _version == topics.Version;
        topic = isFound ? _found[_next].Topic : null;
        return isFound;
    }

    private void Find(LogEntry entry, TopicTable topics)
    {
        var room = Math.Min(entry.Count, MaxPublishes);
        if (_found.Length < room)
        {
            _found = new Found[BitOperations.RoundUpToPowerOf2((uint)room)];
        }

        foreach (var command in new CommandSequence(entry.Body))
        {
            if (_count == _found.Length)
            {
                return;
            }

            if (TopicCommands.IsPublish(command.Kind) && !command.IsThinned)
            {
                topics.TryGet(TopicCommands.TopicOf(command), out var topic);
                _found[_count++] = new Found(command.PayloadPosition, topic);
            }
        }
    }
}
