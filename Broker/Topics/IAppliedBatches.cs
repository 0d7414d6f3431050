using Broker.Domain;

namespace Broker.Topics;

/// <summary>Who wants to hear of what a data shard has applied. Called on the group's loop thread.</summary>
public interface IAppliedBatches
{
    /// <summary>Somebody waits for the next batch. Any thread.</summary>
    bool IsAwaited { get; }

    /// <summary>
    /// Called after readers can see the batch, in log order. Must not block and must not throw. The batch's bytes are
    /// <paramref name="length"/> bytes of the entry's body from <paramref name="position"/>.
    /// </summary>
    void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length);

    /// <summary>
    /// As <see cref="OnAppended"/>, of a batch of which records were taken out of the log, because no reader can get
    /// them any more: whoever wants the others reads them.
    /// </summary>
    void OnThinned(string topic, long baseOffset, int count);

    /// <summary>
    /// A topic was made, or deleted with all that it held; the next batch of that name belongs to a new one. Must not
    /// block and must not throw.
    /// </summary>
    void OnTopicChanged(string topic);

    /// <summary>
    /// A snapshot took the place of the whole state: topics may have batches that were never reported. Must not block
    /// and must not throw.
    /// </summary>
    void OnRestored();
}
