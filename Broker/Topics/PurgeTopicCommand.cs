namespace Broker.Topics;

/// <summary>A purge as it stands in an entry's body.</summary>
internal readonly ref struct PurgeTopicCommand(ReadOnlySpan<byte> topic, long beforeOffset)
{
    /// <summary>The topic's name in UTF-8.</summary>
    public ReadOnlySpan<byte> Topic { get; } = topic;

    /// <summary>What lies before it goes. -1: everything that is stored when the purge is applied.</summary>
    public long BeforeOffset { get; } = beforeOffset;
}
