using System.Collections.Concurrent;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// The state of one data shard: its topics, where their batches are in the log, and which producers sent them.
/// Everything follows from the committed entries (times too), so all replicas agree. One thread applies; readers on
/// other threads see a batch as soon as its Apply step is done and never a part of one (see <see cref="BatchIndex"/>).
/// </summary>
public sealed partial class TopicStateMachine : IStateMachine
{
    private readonly IAppliedBatches _applied;
    private readonly int _maxTopics;
    private readonly int _maxProducersPerTopic;

    // Readers look topics up while the loop adds them; a topic is added with its first batch in it and never removed.
    private readonly ConcurrentDictionary<string, TopicState> _topics = new(Utf8TopicComparer.Instance);
    private readonly ConcurrentDictionary<string, TopicState>.AlternateLookup<ReadOnlySpan<byte>> _topicsByUtf8;

    // ConcurrentDictionary.Count takes every lock; the loop is the only writer and can count by itself.
    private int _topicCount;
    private LogIndex _lastApplied;
    private long _lastTimestampUnixMs;
    private StateHasher _hash;

    /// <summary>The bounds must be the same on every replica: they decide what is refused.</summary>
    public TopicStateMachine(
        IAppliedBatches applied, int maxTopics = Limits.Topics, int maxProducersPerTopic = Limits.ProducersPerTopic)
    {
        _applied = applied;
        _maxTopics = maxTopics;
        _maxProducersPerTopic = maxProducersPerTopic;
        _topicsByUtf8 = _topics.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    public ulong StateHash => _hash.Value;

    /// <summary>Topics of this shard, as any thread may ask.</summary>
    public int TopicCount => Volatile.Read(ref _topicCount);

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        Invariant.Check(entry.Kind == EntryKind.Commands, "only entries of commands are applied");
        Invariant.Check(entry.Index > _lastApplied, "entries are applied in log order, each once");
        Invariant.Check(entry.TimestampUnixMs >= _lastTimestampUnixMs, "a group's time never goes back");
        Invariant.Check(results.IsEmpty || results.Length >= entry.Count, "there is a result slot for every command");
        _lastApplied = entry.Index;
        _lastTimestampUnixMs = entry.TimestampUnixMs;

        var ordinal = 0;
        foreach (var command in CommandCodec.Read(entry.Body))
        {
            var result = ApplyPublish(entry, CommandCodec.ReadPublish(command));
            Invariant.Check(ordinal < entry.Count, "an entry has as many commands as its header says");
            if (!results.IsEmpty)
            {
                results[ordinal] = result;
            }

            ordinal++;
        }

        Invariant.Check(ordinal == entry.Count, "an entry has as many commands as its header says");
    }

    /// <summary>A topic of this shard, for any thread.</summary>
    public bool TryGetTopic(string name, out TopicView topic)
    {
        var found = _topics.TryGetValue(name, out var state);
        topic = found ? new TopicView(state!) : default;
        return found;
    }

    /// <summary>The topics that a filter wants, by name, for any thread; null: all.</summary>
    public IReadOnlyList<TopicView> ListTopics(TopicFilter? filter = null)
    {
        var found = new List<TopicView>();
        if (filter is { IsLiteral: true })
        {
            if (TryGetTopic(filter.ToString(), out var topic))
            {
                found.Add(topic);
            }

            return found;
        }

        foreach (var (name, state) in _topics)
        {
            if (filter is null || filter.Matches(name))
            {
                found.Add(new TopicView(state));
            }
        }

        found.Sort((left, right) => string.CompareOrdinal(left.Name, right.Name));
        return found;
    }

    private CommandResult ApplyPublish(LogEntry entry, in PublishCommand publish)
    {
        var isNew = !_topicsByUtf8.TryGetValue(publish.Topic, out var topic);
        topic ??= new TopicState(Utf8TopicComparer.Instance.Create(publish.Topic), StableHash.Compute(publish.Topic));

        if (!Admits(publish, topic, isNew, out var result))
        {
            AddToHash(entry, topic, result);
            return result;
        }

        var baseOffset = topic.Append(entry, publish.RecordCount, publish.BatchPosition, publish.Batch.Length);
        if (isNew)
        {
            _topics[topic.Name] = topic;
            Volatile.Write(ref _topicCount, _topicCount + 1);
        }

        if (!publish.Stamp.IsNone)
        {
            topic.Producers ??= new ProducerTable(_maxProducersPerTopic);
            topic.Producers.Remember(publish.Stamp, publish.RecordCount, baseOffset, entry.TimestampUnixMs);
        }

        result = new CommandResult
        {
            BaseOffset = baseOffset,
            Count = publish.RecordCount,
            TimestampUnixMs = entry.TimestampUnixMs,
        };
        AddToHash(entry, topic, result);
        _applied.OnAppended(
            topic.Name,
            baseOffset,
            publish.RecordCount,
            entry.TimestampUnixMs,
            entry,
            publish.BatchPosition,
            publish.Batch.Length);
        return result;
    }

    private bool Admits(in PublishCommand publish, TopicState topic, bool isNew, out CommandResult refusal)
    {
        refusal = default;
        if (isNew && _topicCount >= _maxTopics)
        {
            refusal.Code = RefusalCode.ResourceExhausted;
            return false;
        }

        if (publish.Stamp.IsNone)
        {
            return true;
        }

        // The producer's next sequence must be a number, too.
        if (publish.Stamp.Sequence > ulong.MaxValue - (ulong)publish.RecordCount)
        {
            refusal.Code = RefusalCode.InvalidArgument;
            return false;
        }

        return topic.Producers is null || topic.Producers.Admits(publish.Stamp, publish.RecordCount, out refusal);
    }

    private void AddToHash(LogEntry entry, TopicState topic, in CommandResult result)
    {
        _hash.Add(entry.Index.Value);
        _hash.Add(topic.NameHash);
        _hash.Add(((ulong)result.Code << 33) | ((result.Duplicate ? 1UL : 0UL) << 32) | (uint)result.Count);
        _hash.Add(result.BaseOffset);
        _hash.Add(result.TimestampUnixMs);
        _hash.Add(result.Expected);
    }
}
