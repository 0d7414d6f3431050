namespace Broker.Groups;

/// <content>What is asked of a replica that need not lead, by the thread that applies.</content>
internal sealed partial class GroupProgressModule
{
    /// <summary>
    /// The records of a topic that the group has finished or is being given again: of its dead letters those that are
    /// none any more.
    /// </summary>
    public SettledOffsets Handled(int group, string place)
    {
        var progress = topics.TryGetTopic(place, out Broker.Topics.TopicView topic)
            ? Groups.GetValueOrDefault(group)?.Find(topic.Number)
            : null;
        var handled = new SettledOffsets(progress?.Settled.Floor ?? 0);
        foreach (var range in progress?.Settled.Ranges ?? [])
        {
            handled.Add(range);
        }

        foreach (var offset in progress?.Deliveries.Keys ?? [])
        {
            handled.Add(OffsetRange.One(offset));
        }

        return handled;
    }
}
