namespace Broker.Domain;

/// <content>Consumer groups.</content>
public static partial class Limits
{
    /// <summary>Consumer groups of the cluster: each costs its leaders some memory even while it is idle.</summary>
    public const int ConsumerGroups = 1_000;

    /// <summary>
    /// The same in a shard, where one that was deleted stays until the shard's leader has closed it.
    /// </summary>
    public const int GroupsPerShard = 2 * ConsumerGroups;

    /// <summary>
    /// Bytes of a consumer group's name: its dead letters are the topic "$dlq." and the name, which has partitions.
    /// </summary>
    public const int GroupNameBytes = TopicNameBytes - 10;

    /// <summary>The shortest lease of a delivered record: many times what its answer takes to come.</summary>
    public const int GroupAckWaitLeastMs = 100;

    /// <summary>The longest lease or wait of a delivered record: a day.</summary>
    public const int GroupWaitMostMs = 24 * 3_600 * 1_000;

    /// <summary>Deliveries of one record that a group may count to.</summary>
    public const int GroupDeliveries = 1_000;

    /// <summary>Waits between deliveries that a group may list.</summary>
    public const int GroupBackOffs = 20;

    /// <summary>Records that a consumer may let a group send it before it says more.</summary>
    public const int GroupCreditRecords = 1_000;

    /// <summary>The same in bytes.</summary>
    public const long GroupCreditBytes = 32 * 1024 * 1024;

    /// <summary>Bytes of the token that names a delivery.</summary>
    public const int DeliveryTokenBytes = 64;

    /// <summary>Filters of one consumer group.</summary>
    public const int FiltersPerGroup = 100;

    /// <summary>
    /// Ranges that a group may have settled above what it has settled without a gap, in one topic: more than the
    /// records that may be out at consumers (<see cref="GroupOutstandingPerShard"/>) can leave holes.
    /// </summary>
    public const int GroupRangesPerTopic = 2 * GroupOutstandingPerShard;

    /// <summary>
    /// Records of one shard that a group may have delivered and not settled, whatever its own setting: about 10 MB.
    /// </summary>
    public const int GroupOutstandingPerShard = 100_000;

    /// <summary>
    /// Settled ranges and delivery counts of a shard over all groups: they are in memory and in every snapshot, some
    /// bytes each there. Beyond it deliveries are no longer counted durably.
    /// </summary>
    public const int GroupProgressPerShard = 4_000_000;

    /// <summary>Settlements that wait in a shard for the disks: beyond it consumers are told to come again.</summary>
    public const int GroupSettlesWaiting = 100_000;

    /// <summary>Consumers with an open stream at one node.</summary>
    public const int GroupConsumersPerNode = 10_000;
}
