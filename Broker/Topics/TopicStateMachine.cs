using Broker.Client;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// The state of one data shard: its topics, where their batches are in the log, and which producers sent them. Memory
/// holds the locations of batches that no index file covers; snapshots hold none.
/// Everything follows from the committed entries (times too), so all replicas agree. One thread applies; readers on
/// other threads see a batch as soon as its Apply step is done and never a part of one (see <see cref="BatchIndex"/>).
/// </summary>
public sealed partial class TopicStateMachine : IStateMachine
{
    private readonly IAppliedBatches _applied;
    private readonly TopicBounds _bounds;

    // Restoring a snapshot puts another table here; readers that hold a topic of the old one find it as it was.
    private TopicTable _topics = new();
    private LogIndex _lastApplied;
    private long _lastTimestampUnixMs;
    private StateHasher _hash;

    /// <summary>Producers that the topics remember, all together.</summary>
    private int _producers;

    public TopicStateMachine(IAppliedBatches applied, TopicBounds? bounds = null)
    {
        _applied = applied;
        _bounds = bounds ?? new TopicBounds();
    }

    public ulong StateHash => _hash.Value;

    public long LastTimestampUnixMs => _lastTimestampUnixMs;

    /// <summary>Topics of this shard, as any thread may ask.</summary>
    public int TopicCount => Topics.Count;

    private TopicTable Topics => Volatile.Read(ref _topics);

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        Invariant.Check(entry.Kind == EntryKind.Commands, "only entries of commands are applied");
        Invariant.Check(entry.Index > _lastApplied, "entries are applied in log order, each once");
        Invariant.Check(entry.TimestampUnixMs >= _lastTimestampUnixMs, "a group's time never goes back");
        Invariant.Check(results.IsEmpty || results.Length >= entry.Count, "there is a result slot for every command");
        _lastApplied = entry.Index;
        ForgetSilentProducers(_lastTimestampUnixMs, entry.TimestampUnixMs);
        _lastTimestampUnixMs = entry.TimestampUnixMs;

        var ordinal = 0;
        foreach (var command in CommandCodec.Read(entry.Body))
        {
            var result = ApplyCommand(entry, command);
            Invariant.Check(ordinal < entry.Count, "an entry has as many commands as its header says");
            if (!results.IsEmpty)
            {
                results[ordinal] = result;
            }

            ordinal++;
        }

        Invariant.Check(ordinal == entry.Count, "an entry has as many commands as its header says");
    }

    public int FindTraces(LogEntry entry, Span<TracedPublish> into) => PublishTraces.Find(entry.Body.Span, into);

    /// <summary>A topic of this shard, for any thread.</summary>
    public bool TryGetTopic(string name, out TopicView topic)
    {
        var found = Topics.TryGet(name, out var state);
        topic = found ? ViewOf(state!) : default;
        return found;
    }

    /// <summary>
    /// The topics that a filter wants (null: all), by name, for any thread: those after a name, up to a number.
    /// </summary>
    public IReadOnlyList<TopicView> ListTopics(TopicFilter? filter = null, string after = "", int limit = int.MaxValue)
    {
        var found = new List<TopicView>();
        if (filter is { IsLiteral: true })
        {
            var name = filter.ToString();
            if (string.CompareOrdinal(name, after) > 0 && TryGetTopic(name, out var topic))
            {
                found.Add(topic);
            }

            return found;
        }

        var states = Topics.ByName;
        for (var i = FirstAfter(states, after); i < states.Length && found.Count < limit; i++)
        {
            if (filter is null || filter.Matches(states[i].Name))
            {
                found.Add(ViewOf(states[i]));
            }
        }

        return found;
    }

    private static int FirstAfter(TopicState[] states, string name)
    {
        var (low, high) = (0, states.Length);
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            (low, high) = string.CompareOrdinal(states[middle].Name, name) > 0 ? (low, middle) : (middle + 1, high);
        }

        return low;
    }

    private TopicView ViewOf(TopicState state) => new(state, Volatile.Read(ref _readIndexBody));

    private CommandResult ApplyCommand(LogEntry entry, Command command)
    {
        switch (command.Kind)
        {
            case CommandKind.Publish:
                return ApplyPublish(entry, CommandCodec.ReadPublish(command));
            case CommandKind.PurgeTopic:
                return ApplyPurge(entry, CommandCodec.ReadPurgeTopic(command));
            default:
                Invariant.Check(false, "a data shard holds commands on topics");
                return default;
        }
    }

    private CommandResult ApplyPublish(LogEntry entry, in PublishCommand publish)
    {
        var isNew = !_topics.TryGet(publish.Topic, out var topic);
        topic ??= NewTopic(publish.Topic);

        if (!Admits(publish, topic, isNew, out var result))
        {
            AddToHash(entry, topic.NameHash, result);
            return result;
        }

        var baseOffset = topic.Append(entry, publish.RecordCount, publish.BatchPosition, publish.Batch.Length);
        if (isNew)
        {
            Invariant.Check(_topics.TryAdd(topic), "a new topic is not there yet");
        }

        _firstNeeded = LogIndex.Min(_firstNeeded, entry.Index);
        if (!publish.Stamp.IsNone)
        {
            topic.Producers ??= new ProducerTable(_bounds.ProducersPerTopic);
            var known = topic.Producers.Count;
            topic.Producers.Remember(publish.Stamp, publish.RecordCount, baseOffset, entry.TimestampUnixMs);
            _producers += topic.Producers.Count - known;
        }

        result = new CommandResult
        {
            BaseOffset = baseOffset,
            Count = publish.RecordCount,
            TimestampUnixMs = entry.TimestampUnixMs,
        };
        AddToHash(entry, topic.NameHash, result);
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

    private TopicState NewTopic(ReadOnlySpan<byte> name) => new(
        Utf8TopicComparer.Instance.Create(name),
        StableHash.Compute(name),
        _topics.Count,
        new TopicParts(0, new BatchIndex(0, 0)));

    // The topic, its next offset and what it remembers of its producers stay: a batch that is sent again after a purge
    // is still a repetition.
    private CommandResult ApplyPurge(LogEntry entry, in PurgeTopicCommand purge)
    {
        var result = new CommandResult { TimestampUnixMs = entry.TimestampUnixMs };
        if (!_topics.TryGet(purge.Topic, out var topic))
        {
            result.Code = RefusalCode.NotFound;
        }
        else
        {
            var parts = topic.Parts;
            var next = parts.Memory.NextOffset;
            var before = purge.BeforeOffset < 0 ? next : purge.BeforeOffset;
            if (before > next)
            {
                result.Code = RefusalCode.OutOfRange;
                result.BaseOffset = next;
            }
            else
            {
                result.BaseOffset = Math.Max(before, parts.FirstOffset);
                PurgeBefore(topic, before);
            }
        }

        AddToHash(entry, topic?.NameHash ?? StableHash.Compute(purge.Topic), result);
        return result;
    }

    private void PurgeBefore(TopicState topic, long offset)
    {
        if (offset > topic.Parts.FirstOffset)
        {
            topic.Parts = topic.Parts.PurgedBefore(offset);
            _firstNeededIsStale = true;
        }
    }

    private bool Admits(in PublishCommand publish, TopicState topic, bool isNew, out CommandResult refusal)
    {
        refusal = default;
        if (isNew && _topics.Count >= _bounds.Topics)
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

        var producers = topic.Producers;
        var isKnown = producers?.Knows(publish.Stamp.ProducerId) == true;
        if (!isKnown && (producers?.IsFull == true || _producers >= _bounds.Producers))
        {
            // To forget another one instead would store its batch twice when it is sent again.
            refusal.Code = RefusalCode.TooManyProducers;
            return false;
        }

        return producers is null || producers.Admits(publish.Stamp, publish.RecordCount, out refusal);
    }

    /// <summary>
    /// Looked for where the log's time passes a multiple of the interval: that follows from the entries alone, so that
    /// every replica forgets the same at the same entry, whatever snapshot it began with.
    /// </summary>
    private void ForgetSilentProducers(long beforeUnixMs, long nowUnixMs)
    {
        if (beforeUnixMs / _bounds.ProducerSweepMs == nowUnixMs / _bounds.ProducerSweepMs || _producers == 0)
        {
            return;
        }

        foreach (var topic in _topics.Numbered)
        {
            _producers -= topic.Producers?.Forget(nowUnixMs - _bounds.ProducerExpiryMs) ?? 0;
            topic.Producers = topic.Producers is { Count: 0 } ? null : topic.Producers;
        }
    }

    private void AddToHash(LogEntry entry, ulong nameHash, in CommandResult result)
    {
        _hash.Add(entry.Index.Value);
        _hash.Add(nameHash);
        _hash.Add(((ulong)result.Code << 33) | ((result.Duplicate ? 1UL : 0UL) << 32) | (uint)result.Count);
        _hash.Add(result.BaseOffset);
        _hash.Add(result.TimestampUnixMs);
        _hash.Add(result.Expected);
    }
}
