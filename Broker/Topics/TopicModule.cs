using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The topics of one data shard: where their batches are in the log, and which producers sent them. Memory holds the
/// locations of batches that no index file covers; snapshots hold none.
/// Everything follows from the committed entries (times too), so all replicas agree. One thread applies; readers on
/// other threads see a batch as soon as its Apply step is done and never a part of one (see <see cref="BatchIndex"/>).
/// </summary>
public sealed partial class TopicModule : StateModule, IIndexedModule
{
    private readonly IAppliedBatches _applied;
    private readonly TopicBounds _bounds;
    private readonly PublishAdmission _admission;
    private readonly PartitionMaker _partitionMaker;
    private readonly TopicLookahead _ahead = new();
    private long _touched;

    // Restoring a snapshot puts another table here; readers that hold a topic of the old one find it as it was.
    private TopicTable _topics = new();

    /// <summary>Producers that the topics remember, all together.</summary>
    private int _producers;

    /// <param name="applied">Who hears of every batch that is applied.</param>
    /// <param name="bounds">What the shard may come to.</param>
    public TopicModule(IAppliedBatches applied, TopicBounds bounds)
    {
        _applied = applied;
        _bounds = bounds;
        _admission = new PublishAdmission(bounds);
        _retention = new Retention(_compaction);
        _partitionMaker = new PartitionMaker(this);
        Atomic = new AtomicPublish(this, _admission);
    }

    /// <summary>Several publishes that are stored together.</summary>
    internal AtomicPublish Atomic { get; }

    /// <summary>Topics of this shard, as any thread may ask.</summary>
    public int TopicCount => Topics.Count;

    internal override StateSection Section => StateSection.Topics;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.Publish,
        CommandKind.PublishAtOffset,
        CommandKind.PurgeTopic,
        CommandKind.TrimTopic,
        CommandKind.CompactTopic,
        CommandKind.CreateTopic,
        CommandKind.UpdateTopic,
        CommandKind.DeleteTopic,
        CommandKind.PublishToPartition,
        CommandKind.PublishDelayed,
        CommandKind.PublishAtomic,
        CommandKind.CreatePartitionedTopic,
        CommandKind.MakePartitions,
        CommandKind.PlacePartitions,
        CommandKind.RemovePartitions,
    ];

    private TopicTable Topics => Volatile.Read(ref _topics);

    internal ShardCounts Counts => new(_topics.Count, _producers, Delays.Count);

    internal override void BeginEntry(LogEntry entry) => _touched += _ahead.Look(entry, _topics);

    internal override CommandResult Apply(in ApplyStep step, in Command command) => command.Kind switch
    {
        CommandKind.Publish or CommandKind.PublishAtOffset or CommandKind.PublishToPartition
            or CommandKind.PublishDelayed => ApplyPublish(
                step, TopicCommands.ReadPublish(command), command.PayloadPosition),
        CommandKind.PublishAtomic => Atomic.Apply(step, command),
        CommandKind.PurgeTopic => ApplyPurge(step, TopicCommands.ReadPurgeTopic(command)),
        CommandKind.TrimTopic => ApplyTrim(step, TopicCommands.ReadTrimTopic(command)),
        CommandKind.CompactTopic => ApplyCompact(step, TopicCommands.ReadCompactTopic(command)),
        CommandKind.CreateTopic => ApplyCreate(step, TopicCommands.ReadTopicSettings(command), 1),
        CommandKind.CreatePartitionedTopic => ApplyCreatePartitioned(step, command),
        CommandKind.MakePartitions => _partitionMaker.Make(step, PartitionCommands.ReadMakePartitions(command)),
        CommandKind.PlacePartitions => _partitionMaker.Place(step, command),
        CommandKind.RemovePartitions => _partitionMaker.Remove(
            step, PartitionCommands.ReadRemovePartitions(command)),
        CommandKind.UpdateTopic => ApplyUpdate(step, TopicCommands.ReadTopicSettings(command)),
        _ => ApplyDelete(step, TopicCommands.ReadDeleteTopic(command)),
    };

    /// <summary>A topic of this shard, for any thread.</summary>
    public bool TryGetTopic(string name, out TopicView topic)
    {
        var found = Topics.TryGet(name, out var state);
        topic = found ? ViewOf(state!) : default;
        return found;
    }

    /// <summary>
    /// The topics that a filter wants (null: all), by name, for any thread: those after a name, up to a number. Of
    /// those that have several partitions the first stands for all.
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

        foreach (var state in Topics.NamedAfter(after))
        {
            if (found.Count == limit)
            {
                break;
            }

            if (!state.IsPartition && !DueTopic.IsOne(state.Name) && (filter is null || filter.Matches(state.Name)))
            {
                found.Add(ViewOf(state));
            }
        }

        return found;
    }

    /// <summary>All topics and partitions of the shard, by the names that they have in it, for any thread.</summary>
    public IReadOnlyList<TopicView> ListPlaces() => [.. Topics.ByName.Select(ViewOf)];

    private TopicView ViewOf(TopicState state) => new(state, Volatile.Read(ref _readIndexBody));

    private CommandResult ApplyPublish(in ApplyStep step, in PublishCommand publish, int position)
    {
        if (!_ahead.TryTake(position, _topics, out var topic))
        {
            _topics.TryGet(publish.Topic, out topic);
        }

        var isNew = topic is null;
        if (!IsMeant(publish, topic))
        {
            // Whoever sent it knows the topic as it was before: it was made, deleted, or made again since.
            step.Hash.Add(StableHash.Compute(publish.Topic));
            return new CommandResult { Code = RefusalCode.PartitionsChanged };
        }

        topic ??= NewTopic(publish.Topic, TopicSettings.Default);

        step.Hash.Add(topic.NameHash);
        if (!_admission.Admits(publish, topic, isNew, Counts, step.Entry.TimestampUnixMs, out var result))
        {
            result.Topic = topic.Number;
            return result;
        }

        return Store(step, publish, topic, isNew);
    }

    /// <summary>What was admitted is stored, in a new topic when there is none of that name.</summary>
    internal CommandResult Store(in ApplyStep step, in PublishCommand publish)
    {
        var topic = Find(publish.Topic);
        return Store(
            step, publish, topic ?? NewTopic(publish.Topic, TopicSettings.Default), isNew: topic is null);
    }

    private CommandResult Store(in ApplyStep step, in PublishCommand publish, TopicState topic, bool isNew)
    {
        var entry = step.Entry;
        var baseOffset = topic.Append(entry, publish.RecordCount, publish.BatchPosition, publish.BatchBytes);
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

        if (publish.MayBeDelayed)
        {
            AddDelayed(publish, topic, baseOffset, entry.TimestampUnixMs);
        }

        var result = new CommandResult
        {
            BaseOffset = baseOffset,
            Count = publish.RecordCount,
            TimestampUnixMs = entry.TimestampUnixMs,
            Topic = topic.Number,
        };
        if (publish.IsThinned)
        {
            NoteThinned(topic, publish, baseOffset);
            return result;
        }

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

    /// <summary>Whether the topic of a publish is the one that its sender knew.</summary>
    internal static bool IsMeant(in PublishCommand publish, TopicState? topic) => publish.TopicNumber >= 0
        ? topic?.Number == publish.TopicNumber
        : topic?.Partitions is null;

    internal TopicState NewTopic(ReadOnlySpan<byte> name, TopicSettings settings) => new(
        Utf8TopicComparer.Instance.Create(name),
        StableHash.Compute(name),
        _topics.NextNumber,
        new TopicParts(0, new BatchIndex(0, 0)),
        settings);

    // The topic, its next offset and what it remembers of its producers stay: a batch that is sent again after a purge
    // is still a repetition.
    private CommandResult ApplyPurge(in ApplyStep step, in PurgeTopicCommand purge)
    {
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
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

        step.Hash.Add(topic?.NameHash ?? StableHash.Compute(purge.Topic));
        return result;
    }

    private void PurgeBefore(TopicState topic, long offset)
    {
        if (offset > topic.Parts.FirstOffset)
        {
            topic.Parts = topic.Parts.PurgedBefore(offset);
            _firstNeededIsStale = true;
            DropDelayed(topic);
        }
    }

    /// <summary>
    /// Looked for where the log's time passes a multiple of the interval: that follows from the entries alone, so that
    /// every replica forgets the same at the same entry, whatever snapshot it began with.
    /// </summary>
    internal override void PassTime(long beforeUnixMs, long nowUnixMs)
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
}
