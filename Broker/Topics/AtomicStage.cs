using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// What the parts of an atomic publish come to that were admitted before the next one is judged: that one finds its
/// topics, offsets and producers as if they were stored, and nothing is.
/// </summary>
internal sealed class AtomicStage
{
    private readonly Dictionary<string, long> _records = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _newProducersOf = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Topic, ulong Producer), (PublishStamp Stamp, int Count)> _stamps = [];

    private readonly HashSet<string> _newTopics = new(StringComparer.Ordinal);

    /// <summary>Producers that their topics have not known.</summary>
    public int NewProducers { get; private set; }

    /// <summary>Records that are delayed.</summary>
    public int Delayed { get; set; }

    /// <summary>Topics that come to be, beside one.</summary>
    public int NewTopicsBut(string topic) => _newTopics.Contains(topic) ? _newTopics.Count - 1 : _newTopics.Count;

    public long RecordsOf(string topic) => _records.GetValueOrDefault(topic);

    public int NewProducersOf(string topic) => _newProducersOf.GetValueOrDefault(topic);

    /// <summary>
    /// Whether a part before has the stamp of the same producer on that topic: then this one is judged by it.
    /// </summary>
    public bool TryJudge(string topic, PublishStamp stamp, out CommandResult refusal)
    {
        refusal = default;
        if (!_stamps.TryGetValue((topic, stamp.ProducerId), out var before))
        {
            return false;
        }

        var next = before.Stamp.Sequence + (ulong)before.Count;
        if (stamp.Epoch < before.Stamp.Epoch)
        {
            refusal = new CommandResult { Code = RefusalCode.ProducerFenced, Expected = before.Stamp.Epoch };
        }
        else if (stamp.Epoch == before.Stamp.Epoch && stamp.Sequence != next)
        {
            refusal = new CommandResult { Code = RefusalCode.OutOfSequence, Expected = next };
        }

        return true;
    }

    /// <summary>A part is to be stored, if all others are.</summary>
    public void Admit(TopicState topic, bool isNewTopic, in PublishCommand publish)
    {
        if (isNewTopic)
        {
            _newTopics.Add(topic.Name);
        }

        _records[topic.Name] = RecordsOf(topic.Name) + publish.RecordCount;
        if (publish.Stamp.IsNone)
        {
            return;
        }

        if (_stamps.TryAdd((topic.Name, publish.Stamp.ProducerId), default)
            && topic.Producers?.Knows(publish.Stamp.ProducerId) != true)
        {
            _newProducersOf[topic.Name] = NewProducersOf(topic.Name) + 1;
            NewProducers++;
        }

        _stamps[(topic.Name, publish.Stamp.ProducerId)] = (publish.Stamp, publish.RecordCount);
    }
}
