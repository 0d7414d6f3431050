using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>What consumers and operators ask of consumer groups, at any node. Any thread.</summary>
internal interface IConsumerGroups
{
    /// <summary>Begins a consumer of a group: what all shards deliver to it comes out of the session.</summary>
    /// <exception cref="BrokerException">Overloaded: this node has too many consumers.</exception>
    /// <param name="group">The group, as this node knows it.</param>
    /// <param name="consumer">The consumer's name; two may have the same.</param>
    IGroupSession Open(ConsumerGroup group, string consumer);

    /// <summary>
    /// What is to become of records that were delivered, by whatever session of whatever node; the answers, in the same
    /// order, when it is on the disks of a majority. Nothing is thrown for one that cannot be done: the answer says it.
    /// </summary>
    Task<IReadOnlyList<SettleOutcome>> SettleAsync(
        IReadOnlyList<SettleOrder> orders, CancellationToken cancellationToken);

    /// <summary>Reads the token of an order, and which shard gave it out.</summary>
    /// <exception cref="BrokerException">InvalidArgument: it is none of this cluster.</exception>
    (GroupId Shard, TokenOrder Order) Read(in SettleOrder order);

    /// <summary>
    /// Proposes a command that finishes records and publishes what was made of them, at the shard of both, which this
    /// node leads: see <see cref="ShardGroups.PublishAsync"/>.
    /// </summary>
    Task PublishAsync(
        GroupId shard,
        IReadOnlyList<TokenOrder> finished,
        Proposal command,
        Task outcome,
        CancellationToken cancellationToken);

    /// <summary>How far a group is, and who consumes.</summary>
    /// <exception cref="BrokerException">NoLeader: one of the shards has none now.</exception>
    Task<GroupReport> ReportAsync(ConsumerGroup group, CancellationToken cancellationToken);

    /// <summary>
    /// Records in one state behind a place, in the order of <see cref="PlaceOfRecord"/>, and not more than so many.
    /// </summary>
    /// <exception cref="BrokerException">NoLeader: one of the shards has none now.</exception>
    Task<IReadOnlyList<PeekedPlace>> PeekAsync(
        ConsumerGroup group, PeekState state, PlaceOfRecord? after, int most, CancellationToken cancellationToken);

    /// <summary>Moves a group in the topics that it follows, or in one; where it is then.</summary>
    /// <exception cref="BrokerException">
    /// NotFound: the group does not follow that topic. OutOfRange: an offset beyond the end. NoLeader.
    /// </exception>
    /// <param name="group">The group.</param>
    /// <param name="topic">The topic's name; empty: all.</param>
    /// <param name="partition">One of its partitions; null: all.</param>
    /// <param name="target">Where to.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    Task<IReadOnlyList<PlaceReport>> SeekAsync(
        ConsumerGroup group, string topic, int? partition, GroupSeek target, CancellationToken cancellationToken);

    /// <summary>The data shards: each has dead letters of its own.</summary>
    IReadOnlyCollection<GroupId> Shards { get; }

    /// <summary>Delivers dead letters of one shard again, or removes them; answered when it is committed.</summary>
    /// <exception cref="BrokerException">NoLeader: the shard has none now.</exception>
    Task<DeadTaken> TakeDeadLettersAsync(
        ConsumerGroup group, GroupId shard, DeadOrder order, CancellationToken cancellationToken);
}

/// <summary>A consumer with an open stream.</summary>
internal interface IGroupSession : IAsyncDisposable
{
    /// <summary>It may be sent so much more.</summary>
    void AddCredit(int records, long bytes);

    /// <summary>
    /// Done when the leaders of all shards have said that they have nothing for it but what they have sent. Never,
    /// while a shard has no leader, or one of an earlier version.
    /// </summary>
    Task AllQuiet { get; }

    /// <summary>
    /// What it is given, until it is cancelled. What was read and is not settled when the session ends stays the
    /// consumer's until the lease ends.
    /// </summary>
    /// <exception cref="BrokerException">
    /// NotFound: the group was deleted. NoLeader: one of the shards has had no leader for ten seconds.
    /// </exception>
    IAsyncEnumerable<GroupDelivery> ReadAsync(CancellationToken cancellationToken);
}

/// <summary>Records of one topic and one batch, one after another, that a consumer holds a lease on.</summary>
/// <param name="Token">Names them: opaque, at most <see cref="Domain.Limits.DeliveryTokenBytes"/> bytes.</param>
/// <param name="Topic">The topic's name; of a dead letter that is delivered again, where it was published.</param>
/// <param name="Partition">From 0.</param>
/// <param name="BaseOffset">Of the first; the others follow without gaps.</param>
/// <param name="TimestampUnixMs">The batch's time.</param>
/// <param name="Batch">The records, as their producer encoded them.</param>
/// <param name="Count">How many.</param>
/// <param name="Attempt">How often they were delivered, this time included.</param>
internal readonly record struct GroupDelivery(
    ReadOnlyMemory<byte> Token,
    string Topic,
    int Partition,
    long BaseOffset,
    long TimestampUnixMs,
    ReadOnlyMemory<byte> Batch,
    int Count,
    int Attempt);

/// <param name="Kind">What is to become of the records.</param>
/// <param name="Token">Of their delivery.</param>
/// <param name="First">The first of its records, from 0.</param>
/// <param name="Count">How many of them; 0: all from the first on.</param>
/// <param name="DelayMs">See <see cref="SettleRequest.DelayMs"/>.</param>
/// <param name="Reason">Of Terminate.</param>
internal readonly record struct SettleOrder(
    SettleKind Kind,
    ReadOnlyMemory<byte> Token,
    int First = 0,
    int Count = 0,
    long? DelayMs = null,
    string? Reason = null);

/// <param name="Refusal">Null: it is done, but for the lost ones. Else nothing is known to be done.</param>
/// <param name="Lost">Records that were not the consumer's any more; they come again.</param>
internal readonly record struct SettleOutcome(BrokerException? Refusal, int Lost);

/// <summary>Where a group is to go.</summary>
/// <param name="Offset">The next record; null: as the others say.</param>
/// <param name="TimeUnixMs">The first batch of that time or later.</param>
/// <param name="IsEnd">The end; else, when nothing else is said, the beginning.</param>
internal readonly record struct GroupSeek(long? Offset, long? TimeUnixMs, bool IsEnd);

/// <summary>Which dead letters of a shard are to be delivered again, or removed.</summary>
/// <param name="Offsets">In the shard's partition of them; empty: all. What is not there is passed over.</param>
/// <param name="Before">Only those before this offset; null: those of now.</param>
/// <param name="Most">Not more than so many; a shard may do less at once, and says what is left.</param>
/// <param name="IsPurge">They are removed.</param>
internal readonly record struct DeadOrder(IReadOnlyList<long> Offsets, long? Before, int Most, bool IsPurge);

/// <param name="Count">Dead letters that were taken.</param>
/// <param name="Left">Of those asked for, how many there still are.</param>
/// <param name="End">Behind the last of those asked for: what dies from now on is not before it.</param>
internal readonly record struct DeadTaken(long Count, long Left, long End);

/// <param name="Consumers">Those with an open session, over all shards.</param>
/// <param name="Places">Partitions of topics that it follows, ordered by topic and partition.</param>
/// <param name="DeadLetters">Dead letters that nobody took.</param>
internal sealed record GroupReport(
    IReadOnlyList<ConsumerReport> Consumers, IReadOnlyList<PlaceReport> Places, long DeadLetters);

/// <param name="Name">The consumer's name.</param>
/// <param name="Node">Where its session is.</param>
/// <param name="Session">Tells it from others of its name.</param>
/// <param name="Out">Records that it holds leases on.</param>
/// <param name="Credit">Records that it may still be sent.</param>
/// <param name="IsServed">It is given records; of an exclusive group one is.</param>
internal readonly record struct ConsumerReport(
    string Name, int Node, long Session, int Out, int Credit, bool IsServed);

/// <summary>Where a record is: ordered by topic, partition and offset.</summary>
/// <param name="Topic">The topic's name.</param>
/// <param name="Partition">From 0.</param>
/// <param name="Offset">Its offset.</param>
internal sealed record PlaceOfRecord(string Topic, int Partition, long Offset) : IComparable<PlaceOfRecord>
{
    public int CompareTo(PlaceOfRecord? other) =>
        other is null ? 1
        : string.CompareOrdinal(Topic, other.Topic) is not 0 and var byTopic ? byTopic
        : (Partition, Offset).CompareTo((other.Partition, other.Offset));
}

/// <summary>A record in the state that was asked for; see <see cref="PeekedOffset"/>.</summary>
/// <param name="Place">Where it is.</param>
/// <param name="Deliveries">How often it was delivered.</param>
/// <param name="Consumer">The name of whose it is, while it is out.</param>
/// <param name="Node">Where that one's session is, or was.</param>
/// <param name="Session">Tells it from others of its name there.</param>
/// <param name="UntilUnixMs">When its lease ends, or it is due. 0: neither.</param>
internal sealed record PeekedPlace(
    PlaceOfRecord Place, int Deliveries, string Consumer, int Node, long Session, long UntilUnixMs);

/// <summary>How far a group is in one partition of a topic.</summary>
/// <param name="Topic">The topic's name.</param>
/// <param name="Partition">From 0.</param>
/// <param name="Floor">Every record before it is settled.</param>
/// <param name="Next">The offset that the next record will get.</param>
/// <param name="Lag">Records that are not settled.</param>
/// <param name="OldestUnixMs">The time of the oldest of them; 0: none, or unknown.</param>
/// <param name="Out">Under a lease.</param>
/// <param name="Waiting">For another delivery.</param>
/// <param name="Redeliveries">Deliveries beyond each record's first, since the leader took office.</param>
/// <param name="Expired">Records whose time to live was over, since the leader took office.</param>
internal readonly record struct PlaceReport(
    string Topic,
    int Partition,
    long Floor,
    long Next,
    long Lag,
    long OldestUnixMs,
    int Out,
    int Waiting,
    long Redeliveries,
    long Expired)
{
    /// <summary>The same with the records of it that are due, which the group follows by references.</summary>
    public PlaceReport With(in PlaceReport due) => this with
    {
        Lag = Lag + due.Lag,
        OldestUnixMs = due.OldestUnixMs > 0 && (OldestUnixMs == 0 || due.OldestUnixMs < OldestUnixMs)
            ? due.OldestUnixMs
            : OldestUnixMs,
        Out = Out + due.Out,
        Waiting = Waiting + due.Waiting,
        Redeliveries = Redeliveries + due.Redeliveries,
        Expired = Expired + due.Expired,
    };
}
