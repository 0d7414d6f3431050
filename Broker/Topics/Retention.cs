using System.Buffers;

namespace Broker.Topics;

/// <summary>
/// Which topics of a shard have settings that do not keep everything, and what the leader proposes for them by itself.
/// Nothing of it is part of the state: it follows from the settings and from what the topics hold.
/// </summary>
/// <param name="compaction">What this replica has found of compacted topics.</param>
internal sealed class Retention(CompactionMemory compaction)
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

            if (topic.Settings.Compact && CompactableThrough(topic, nowUnixMs) is { } through)
            {
                TopicCommands.WriteCompactTopic(command, topic.Number, topic.SettingsVersion, through);
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// To where a topic is to be compacted now, by whole segments; null: it would not be worth it. It is when as much
    /// has come since the last time as was left then (so that a compaction reads at most twice what has come), or when
    /// a delete marker's time is over. How much was left is known when this replica has looked, which it does after
    /// each compaction and after a start.
    /// </summary>
    private long? CompactableThrough(TopicState topic, long nowUnixMs)
    {
        var (state, settings, parts) = (topic.Compacted, topic.Settings, topic.Parts);
        var known = compaction.Find(topic);
        if (known is null && state.Through > parts.FirstOffset)
        {
            return null;
        }

        var (through, bytes, batches) = parts.OldEnough(state.Through, nowUnixMs - settings.CompactAfterMs);
        var isMuch = batches > 0 && bytes + (batches * KeyScan.StubBytes) >= (known?.LeftBytes ?? 0);
        var isMarkerDue = known?.NextMarkerMs <= nowUnixMs - settings.DeleteMarkerMs;
        return isMuch || isMarkerDue ? Math.Max(through, state.Through) : null;
    }
}
