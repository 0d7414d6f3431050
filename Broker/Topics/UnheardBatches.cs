using Broker.Domain;

namespace Broker.Topics;

/// <summary>For a state machine that repeats what others have heard of already.</summary>
internal sealed class UnheardBatches : IAppliedBatches
{
    public static readonly UnheardBatches Instance = new();

    public bool IsAwaited => false;

    public void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length)
    {
        // Readers were told when the entry was applied for the first time.
    }

    public void OnThinned(string topic, long baseOffset, int count)
    {
        // As above.
    }

    public void OnTopicChanged(string topic)
    {
        // As above.
    }

    public void OnRestored()
    {
        // Nobody reads from this machine.
    }
}
