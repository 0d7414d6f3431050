using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Which of a shard's topics have several partitions, and which are partitions of a topic. For the thread that applies,
/// but where it says otherwise.
/// </summary>
internal sealed class PartitionList
{
    private readonly List<TopicState> _topics = [];
    private readonly List<TopicState> _others = [];
    private int _topicCount;

    /// <summary>Topics of several partitions, which are their first ones; in no order.</summary>
    public IReadOnlyList<TopicState> Topics => _topics;

    /// <summary>Partitions other than the first of their topic; in no order.</summary>
    public IReadOnlyList<TopicState> Others => _others;

    /// <summary>Whether any topic has several partitions; any thread.</summary>
    public bool HasTopics => Volatile.Read(ref _topicCount) > 0;

    /// <summary>Grows whenever one of them changes; nothing in the state follows from it.</summary>
    public long Version { get; private set; }

    /// <summary>Hears of it.</summary>
    public Action? Changed { get; set; }

    public void Touch()
    {
        Version++;
        Changed?.Invoke();
    }

    /// <summary>Takes note of a topic that came to be, of whatever kind.</summary>
    public void Add(TopicState topic)
    {
        if (ListOf(topic) is { } list)
        {
            list.Add(topic);
            NoteChange();
        }
    }

    public void Remove(TopicState topic)
    {
        if (ListOf(topic)?.Remove(topic) == true)
        {
            NoteChange();
        }
    }

    public void Clear()
    {
        _topics.Clear();
        _others.Clear();
        NoteChange();
    }

    /// <summary>What a snapshot says of a topic; <see cref="TopicModule"/> has the bytes.</summary>
    public static void Write(TopicState topic, ref SnapshotWriter writer)
    {
        if (topic.IsPartition)
        {
            writer.PutVarint(1);
            writer.PutVarint(topic.PartitionOf);
            return;
        }

        var numbers = topic.Partitions;
        writer.PutVarint(numbers?.Length ?? 0);
        for (var i = 1; i < numbers?.Length; i++)
        {
            writer.PutVarint(numbers[i] + 1L);
        }
    }

    public static (int PartitionOf, int[]? Partitions) Read(ref SnapshotReader reader, int number)
    {
        var count = (int)reader.TakeVarint(Limits.PartitionsPerTopic);
        if (count < 2)
        {
            return (count == 1 ? (int)reader.TakeVarint(int.MaxValue) : -1, null);
        }

        var numbers = new int[count];
        numbers[0] = number;
        for (var i = 1; i < count; i++)
        {
            numbers[i] = (int)(reader.TakeVarint(int.MaxValue) - 1);
        }

        return (-1, numbers);
    }

    private List<TopicState>? ListOf(TopicState topic) =>
        topic.IsPartition ? _others : topic.Partitions is not null ? _topics : null;

    private void NoteChange()
    {
        Volatile.Write(ref _topicCount, _topics.Count);
        Touch();
    }
}
