using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// What one data shard's applied batches set off: its readers and consumer groups wake, and Redis hears of them, where
/// there is one.
/// </summary>
internal sealed class ShardDelivery(
    GroupId group, TailSignal signal, LiveFanOut? liveFanOut, ShardNews? news = null) : IAppliedBatches
{
    /// <summary>
    /// Consumer groups and Redis are served where the shard is led, which knows by itself what commits.
    /// </summary>
    public bool IsAwaited => signal.HasReaders;

    public void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length)
    {
        signal.Notify(topic);
        news?.Note(topic);
        liveFanOut?.OnAppended(group, topic, baseOffset, count, timestampUnixMs, entry.Body.Slice(position, length));
    }

    /// <summary>Redis does not hear of it: live subscribers see the gap, and read what is left from the log.</summary>
    public void OnThinned(string topic, long baseOffset, int count) => OnTopicChanged(topic);

    /// <summary>Readers look again, and find it, or find that it is gone.</summary>
    public void OnTopicChanged(string topic)
    {
        signal.Notify(topic);
        news?.Note(topic);
    }

    /// <summary>Redis does not hear of it: live subscribers see the gap, and read it from the log.</summary>
    public void OnRestored()
    {
        signal.NotifyAll();
        news?.NoteAll();
    }
}
