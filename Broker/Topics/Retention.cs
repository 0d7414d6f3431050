using System.Buffers;

namespace Broker.Topics;

/// <summary>
/// Which topics of a shard have settings that do not keep everything, and what the leader proposes for them by itself.
/// Nothing of it is part of the state: it follows from the settings and from what the topics hold.
/// </summary>
internal sealed class Retention
{
    /// <summary>
    /// Topics that one question after a duty looks at: about 0.3 ms of the loop. With more of them that have limits the
    /// next question goes on where this one has stopped.
    /// </summary>
    private const int TopicsPerLook = 4_096;

    // In no order.
    private readonly List<TopicState> _topics = [];
    private int _next;

    /// <summary>How many are still to be asked what they need; -1: all.</summary>
    private int _leftInRound = -1;

    /// <summary>Takes note of the settings of a topic, which were others before.</summary>
    public void Note(TopicState topic, TopicSettings before)
    {
        if (before.HasRetention == topic.Settings.HasRetention)
        {
            return;
        }

        if (before.HasRetention)
        {
            _topics.Remove(topic);
        }
        else
        {
            _topics.Add(topic);
        }
    }

    public void Remove(TopicState topic) => _topics.Remove(topic);

    public void Clear() => _topics.Clear();

    /// <summary>What was proposed was applied, or nothing is due: each topic is asked once more.</summary>
    public void BeginRound() => _leftInRound = -1;

    /// <summary>
    /// The next command that some topic needs now. A topic is asked once in a round: what it needs stays due until it
    /// was applied.
    /// </summary>
    public bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
    {
        _leftInRound = _leftInRound < 0 ? _topics.Count : _leftInRound;
        for (var looks = 0; looks < TopicsPerLook && _leftInRound > 0 && _topics.Count > 0; looks++)
        {
            _leftInRound--;
            _next = _next < _topics.Count ? _next : 0;
            var topic = _topics[_next++];
            var first = topic.Parts.FirstKept(topic.Settings, nowUnixMs);
            if (first > topic.Parts.FirstOffset)
            {
                TopicCommands.WriteTrimTopic(command, topic.Number, topic.SettingsVersion, first);
                return true;
            }
        }

        return false;
    }
}
