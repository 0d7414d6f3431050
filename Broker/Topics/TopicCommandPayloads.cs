namespace Broker.Topics;

/// <summary>A purge as it stands in an entry's body.</summary>
internal readonly ref struct PurgeTopicCommand(ReadOnlySpan<byte> topic, long beforeOffset)
{
    /// <summary>The topic's name in UTF-8.</summary>
    public ReadOnlySpan<byte> Topic { get; } = topic;

    /// <summary>What lies before it goes. -1: everything that is stored when the purge is applied.</summary>
    public long BeforeOffset { get; } = beforeOffset;
}

/// <summary>What a new topic has, or what an update changes.</summary>
internal readonly ref struct TopicSettingsCommand(
    ReadOnlySpan<byte> topic, TopicSettingParts parts, TopicSettings settings)
{
    /// <summary>The topic's name in UTF-8.</summary>
    public ReadOnlySpan<byte> Topic { get; } = topic;

    /// <summary>Which of the settings count.</summary>
    public TopicSettingParts Parts { get; } = parts;

    public TopicSettings Settings { get; } = settings;
}

/// <summary>What a topic's settings do not keep any longer.</summary>
/// <param name="Number">The topic's number, so that a new one of the same name is not meant.</param>
/// <param name="SettingsVersion">By which settings: when they have changed since, nothing goes.</param>
/// <param name="BeforeOffset">What lies before it goes.</param>
internal readonly record struct TrimTopicCommand(int Number, int SettingsVersion, long BeforeOffset);

/// <summary>Up to where only the last record of each key is left.</summary>
/// <param name="Number">The topic's number.</param>
/// <param name="SettingsVersion">By which settings: when they have changed since, nothing goes.</param>
/// <param name="Through">The first offset that is left alone.</param>
internal readonly record struct CompactTopicCommand(int Number, int SettingsVersion, long Through);
