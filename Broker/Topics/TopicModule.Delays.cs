using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <content>What the module of delayed records asks for, which stands behind this one.</content>
public sealed partial class TopicModule
{
    /// <summary>Records that groups are to get later.</summary>
    internal DelayTable Delays { get; set; } = new();

    internal TopicBounds Bounds => _bounds;

    /// <summary>
    /// Stores a batch of references to records of a topic that are due; returns its first offset among those. Their
    /// rows were taken out, so the topic is there.
    /// </summary>
    internal long AppendDue(in ApplyStep step, in DelayDueCommand due)
    {
        var topic = _topics.Find(due.Topic);
        Invariant.Check(topic is not null, "what is delayed is a record of a topic that is there");
        var delays = Delays.Of(due.Topic);
        var into = _topics.Find(delays.DueTopic);
        if (into is null)
        {
            into = NewTopic(Encoding.UTF8.GetBytes(DueTopic.Of(topic.Name)), TopicSettings.Default);
            Add(into);
            delays.DueTopic = into.Number;
        }

        var offset = into.Append(step.Entry, due.Count, due.Position, due.References.Length);
        _firstNeeded = LogIndex.Min(_firstNeeded, step.Entry.Index);
        if (delays.GivenUpTo == 0)
        {
            delays.GivenUpTo = into.Parts.Memory.NextOffset;
            delays.WhenFirstIs = topic.Parts.Memory.NextOffset;
        }

        // Who reads by name or filter hears nothing: it is the groups' alone.
        _applied.OnTopicChanged(into.Name);
        return offset;
    }

    private void AddDelayed(in PublishCommand publish, TopicState topic, long baseOffset, long timestampUnixMs)
    {
        foreach (var (record, dueUnixMs) in DeliveryTimes.FindDelayed(publish, timestampUnixMs))
        {
            Delays.Add(topic.Number, baseOffset + record, dueUnixMs);
        }
    }

    /// <summary>
    /// What is gone is not delivered; and when all is gone that was there when some references were stored, these are
    /// given up, too.
    /// </summary>
    private void DropDelayed(TopicState topic)
    {
        Delays.RemoveBefore(topic.Number, topic.Parts.FirstOffset);
        if (Delays.Find(topic.Number) is not { GivenUpTo: > 0 } delays
            || topic.Parts.FirstOffset < delays.WhenFirstIs || _topics.Find(delays.DueTopic) is not { } due)
        {
            return;
        }

        PurgeBefore(due, delays.GivenUpTo);
        var next = due.Parts.Memory.NextOffset;
        (delays.GivenUpTo, delays.WhenFirstIs) = next > due.Parts.FirstOffset
            ? (next, topic.Parts.Memory.NextOffset)
            : (0, 0);
    }

    private void RemoveDelayed(TopicState topic)
    {
        var due = Delays.Find(topic.Number) is { } delays ? _topics.Find(delays.DueTopic) : null;
        Delays.RemoveTopic(topic.Number);
        if (due is not null)
        {
            Remove(due);
        }
    }
}
