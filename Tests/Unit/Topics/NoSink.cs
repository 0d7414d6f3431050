using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Unit.Topics;

/// <summary>For tests in which the state alone is under test.</summary>
internal sealed class NoSink : IAppliedBatches
{
    public bool IsAwaited => false;

    public void OnAppended(
        string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length)
    {
        // Nobody listens.
    }

    public void OnThinned(string topic, long baseOffset, int count)
    {
        // Nobody asks for it.
    }

    public void OnTopicChanged(string topic)
    {
        // Nobody waits for it.
    }

    public void OnRestored()
    {
        // Nobody listens.
    }
}
