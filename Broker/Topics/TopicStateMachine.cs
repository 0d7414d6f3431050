using Broker.Client;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>The state of a data shard: what it is made of, and what other rooms ask of it.</summary>
public sealed class TopicStateMachine : ModularStateMachine
{
    private const byte SnapshotKind = (byte)'T';
    private const byte FormerFormat = 1;

    private readonly IAppliedBatches _applied;
    private readonly TopicModule _topics;
    private readonly TopicBounds _bounds;

    /// <summary>Makes the modules that stand behind the topics; null: there are none.</summary>
    private readonly Func<TopicModule, StateModule[]>? _more;

    /// <param name="applied">Who hears of every batch that is applied.</param>
    /// <param name="bounds">What the shard may come to; null: the limits.</param>
    public TopicStateMachine(IAppliedBatches applied, TopicBounds? bounds = null)
        : this(applied, bounds ??= new TopicBounds(), new TopicModule(applied, bounds), more: null)
    {
    }

    /// <summary>The same with more modules behind the topics, which may ask them.</summary>
    internal TopicStateMachine(IAppliedBatches applied, TopicBounds bounds, Func<TopicModule, StateModule[]> more)
        : this(applied, bounds, new TopicModule(applied, bounds), more)
    {
    }

    private TopicStateMachine(
        IAppliedBatches applied,
        TopicBounds bounds,
        TopicModule topics,
        Func<TopicModule, StateModule[]>? more)
        : base(SnapshotKind, [topics, new DelayModule(topics), .. more?.Invoke(topics) ?? []])
    {
        _applied = applied;
        _topics = topics;
        _bounds = bounds;
        _more = more;
    }

    /// <summary>
    /// As who hears of the batches says: a replica that nobody reads from may learn of them a moment later.
    /// </summary>
    public override bool IsAwaited => _applied.IsAwaited;

    /// <inheritdoc cref="TopicModule.TopicCount"/>
    public int TopicCount => _topics.TopicCount;

    /// <inheritdoc cref="TopicModule.TryGetTopic"/>
    public bool TryGetTopic(string name, out TopicView topic) => _topics.TryGetTopic(name, out topic);

    /// <inheritdoc cref="TopicModule.ListTopics"/>
    public IReadOnlyList<TopicView> ListTopics(
        TopicFilter? filter = null, string after = "", int limit = int.MaxValue) =>
        _topics.ListTopics(filter, after, limit);

    /// <inheritdoc cref="TopicModule.ListPlaces"/>
    public IReadOnlyList<TopicView> ListPlaces() => _topics.ListPlaces();

    /// <inheritdoc cref="TopicModule.AttachIndexes"/>
    public void AttachIndexes(ReadIndexBody readIndexBody) => _topics.AttachIndexes(readIndexBody);

    /// <summary>Whether any topic of this shard has several partitions, as any thread may ask.</summary>
    public bool HasPartitionedTopics => _topics.Partitions.HasTopics;

    /// <summary>Whether what had that number here is gone, and not only still to come; any thread may ask.</summary>
    internal bool HasLost(string name, int number) =>
        _topics.NextNumber > number && !(TryGetTopic(name, out var topic) && topic.Number == number);

    /// <summary>Gives the leader of this shard its duties for partitions; before the first entry.</summary>
    /// <param name="own">The shard.</param>
    /// <param name="shards">Which partition belongs to which shard.</param>
    /// <param name="machineOf">The state of the other shards on this node, applied by the same thread.</param>
    /// <param name="changed">Called when something has changed from which a duty of any shard may follow.</param>
    public void AttachPartitionDuties(
        GroupId own, ShardMap shards, Func<GroupId, TopicStateMachine> machineOf, Action? changed = null)
    {
        _topics.AttachDuties(new PartitionDuties(own, shards, group => machineOf(group)._topics));
        _topics.Partitions.Changed = changed;
    }

    public override int FindTraces(LogEntry entry, Span<TracedPublish> into) =>
        PublishTraces.Find(entry.Body.Span, into);

    public override IStateMachine MakeShadow() => _more is null
        ? new TopicStateMachine(UnheardBatches.Instance, _bounds)
        : new TopicStateMachine(UnheardBatches.Instance, _bounds, _more);

    private protected override bool IsFormerFormat(byte format) => format == FormerFormat;
}
