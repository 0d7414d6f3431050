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
    private CompactedTo _compacted = CompactedTo.Nothing;
    private int[]? _partitions;
    private string[]? _partitionNames;

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

    /// <summary>How far it was compacted, as any thread may look.</summary>
    public CompactedTo Compacted
    {
        get => Volatile.Read(ref _compacted);
        set => Volatile.Write(ref _compacted, value);
    }

    /// <summary>How often the settings were changed; for the apply thread.</summary>
    public int SettingsVersion { get; set; }

    /// <summary>
    /// Of a topic of several partitions the number that each has in its shard, its own first, -1 while one is not made
    /// yet. Null: the topic has one partition, or is one itself. Never changed, only replaced; any thread may look.
    /// </summary>
    public int[]? Partitions
    {
        get => Volatile.Read(ref _partitions);
        init => _partitions = value;
    }

    /// <summary>
    /// Of a partition other than the first, the topic's number in the shard of its first partition; otherwise -1.
    /// </summary>
    public int PartitionOf { get; init; } = -1;

    public bool IsPartition => PartitionOf >= 0;

    /// <summary>A new topic has so many partitions, of which only the first is made.</summary>
    public void HasPartitions(int count)
    {
        if (count > 1)
        {
            _partitions = new int[count];
            Array.Fill(_partitions, -1);
            _partitions[0] = Number;
        }
    }

    /// <summary>Takes the numbers of partitions that have none yet; false: it has no partitions.</summary>
    public bool TryPlace(IReadOnlyList<PlacedPartition> placed)
    {
        var numbers = (int[]?)_partitions?.Clone();
        if (numbers is null)
        {
            return false;
        }

        foreach (var (partition, number) in placed)
        {
            Invariant.Check(partition < numbers.Length, "a placed partition is one of its topic's");
            numbers[partition] = numbers[partition] < 0 ? number : numbers[partition];
        }

        Volatile.Write(ref _partitions, numbers);
        return true;
    }

    /// <summary>Under which name a partition stands in its shard, made once: publishes ask for it.</summary>
    public string PartitionNameOf(int partition)
    {
        var names = Volatile.Read(ref _partitionNames);
        if (names is null)
        {
            names = new string[Partitions!.Length];
            for (var i = 0; i < names.Length; i++)
            {
                names[i] = PartitionName.Of(Name, i);
            }

            Volatile.Write(ref _partitionNames, names);
        }

        return names[partition];
    }

    /// <summary>Null until the first stamped publish; touched by the apply thread alone.</summary>
    public ProducerTable? Producers { get; set; }

    /// <summary>Reads what <see cref="Append"/> will, so that it is at hand then; the number means nothing.</summary>
    public long Touch() => _parts.Memory.Touch() + (Producers?.Touch() ?? 0);

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
