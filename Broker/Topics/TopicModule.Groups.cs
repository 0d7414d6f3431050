using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>What the module of consumer groups asks for, which stands behind this one.</summary>
public sealed partial class TopicModule
{
    /// <summary>Grows whenever a topic comes or goes; nothing in the state follows from it.</summary>
    internal long TopicsVersion => _topics.Version;

    /// <summary>By number; for the thread that applies.</summary>
    internal IReadOnlyList<TopicState> Numbered => _topics.Numbered;

    /// <summary>
    /// Stores a batch of one record that stands in a command of another kind; returns its offset. -1: there is no such
    /// topic.
    /// </summary>
    /// <param name="step">The entry.</param>
    /// <param name="number">The topic's number.</param>
    /// <param name="position">Where the batch begins within the entry's body.</param>
    /// <param name="length">The batch's bytes.</param>
    internal long AppendOne(in ApplyStep step, int number, int position, int length)
    {
        if (_topics.Find(number) is not { } topic)
        {
            return -1;
        }

        var entry = step.Entry;
        var offset = topic.Append(entry, 1, position, length);
        _firstNeeded = LogIndex.Min(_firstNeeded, entry.Index);
        _applied.OnAppended(topic.Name, offset, 1, entry.TimestampUnixMs, entry, position, length);
        return offset;
    }
}
