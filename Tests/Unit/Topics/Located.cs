using Broker.Topics;

namespace Broker.Tests.Unit.Topics;

/// <summary>Looks batches up as a reader does.</summary>
internal static class Located
{
    /// <summary>The batch that holds an offset, or null.</summary>
    public static BatchLocation? At(TopicView topic, long offset)
    {
        var found = new List<BatchLocation>();
        return topic.TryLocate(offset, offset + 1, 1, found, out _) ? found[0] : null;
    }

    /// <summary>All batches from an offset to the topic's next one.</summary>
    public static List<BatchLocation> From(TopicView topic, long offset)
    {
        var found = new List<BatchLocation>();
        topic.TryLocate(offset, topic.NextOffset, int.MaxValue, found, out _);
        return found;
    }
}
