using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// What a replica knows about one topic. The apply thread writes; readers see it through <see cref="TopicView"/>.
/// </summary>
/// <param name="name">Its name.</param>
/// <param name="nameHash">For the state hash, so that it does not read the name again for every batch.</param>
/// <param name="number">
/// Topics of a shard are numbered from 0 as they come to be, on every replica alike; no number is given twice. Index
/// files name them so: their names are longer, and a hash of them could be made to collide.
/// </param>
/// <param name="parts">Where its batches are.</param>
/// <param name="settings">What it keeps and takes.</param>
internal sealed class TopicState(string name, ulong nameHash, int number, TopicParts parts, TopicSettings settings)
{
    private TopicParts _parts = parts;
    private TopicSettings _settings = settings;

    public string Name { get; } = name;

    public ulong NameHash { get; } = nameHash;

    public int Number { get; } = number;

    /// <summary>Where the batches are, as any thread may look.</summary>
    public TopicParts Parts
    {
        get => Volatile.Read(ref _parts);
        set => Volatile.Write(ref _parts, value);
    }

    /// <summary>What it keeps and takes, as any thread may look.</summary>
    public TopicSettings Settings
    {
        get => Volatile.Read(ref _settings);
        set => Volatile.Write(ref _settings, value);
    }

    /// <summary>How often the settings were changed; for the apply thread.</summary>
    public int SettingsVersion { get; set; }

    /// <summary>Null until the first stamped publish; touched by the apply thread alone.</summary>
    public ProducerTable? Producers { get; set; }

    /// <summary>Adds a batch, visible to readers when this returns; gives its first offset.</summary>
    public long Append(LogEntry entry, int recordCount, int position, int length)
    {
        var memory = _parts.Memory;
        var baseOffset = memory.NextOffset;
        memory.Append(new BatchLocation(
            baseOffset, recordCount, position, entry.Index, entry.TimestampUnixMs, length));
        return baseOffset;
    }
}
