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

    /// <summary>Records have priorities from 0 to this.</summary>
    public const int MostPriority = 9;

    /// <summary>Deliveries of one record that a group may count to.</summary>
    public const int GroupDeliveries = 1_000;

    /// <summary>Waits between deliveries that a group may list.</summary>
    public const int GroupBackOffs = 20;

    /// <summary>Records that a consumer may let a group send it before it says more.</summary>
    public const int GroupCreditRecords = 10_000;

    /// <summary>The same in bytes.</summary>
    public const long GroupCreditBytes = 32 * 1024 * 1024;

    /// <summary>
    /// Records that may be out at a consumer which leaves its credit to the server: enough that it does not wait.
    /// </summary>
    public const int GroupWindowRecords = 1_000;

    /// <summary>The same in bytes.</summary>
    public const long GroupWindowBytes = 8 * 1024 * 1024;

    /// <summary>Bytes of the token that names a delivery.</summary>
    public const int DeliveryTokenBytes = 64;

    /// <summary>Bytes of a consumer's name.</summary>
    public const int ConsumerNameBytes = 255;

    /// <summary>Requests to settle of one stream that are not answered; beyond it the stream is not read.</summary>
    public const int SettlesInFlightPerStream = 256;

    /// <summary>Ranges of records in one request to settle, and items of a unary one.</summary>
    public const int RangesPerSettle = 1_000;

    /// <summary>
    /// Records that one atomic publish finishes: as many as a consumer may hold that says how much it takes.
    /// </summary>
    public const int RecordsPerStep = GroupCreditRecords;

    /// <summary>Runs of records that a refusal names: its details travel in a trailer, which stays small.</summary>
    public const int LostRunsNamed = 100;

    /// <summary>Bytes of the reason for which a record is given up.</summary>
    public const int TerminateReasonBytes = 1_024;

    /// <summary>Records of a fetch that does not say how many.</summary>
    public const int DefaultRecordsPerFetch = 100;

    /// <summary>Bytes of a fetch that does not say how many.</summary>
    public const int DefaultBytesPerFetch = 1024 * 1024;

    /// <summary>
    /// The most bytes of a fetch: with one large record more it fits into what a client with gRPC's defaults takes.
    /// </summary>
    public const int BytesPerFetch = 2 * 1024 * 1024;

    /// <summary>How long a fetch waits that does not say: all shards' leaders can be asked meanwhile.</summary>
    public const int LeastFetchWaitMs = 100;

    /// <summary>The longest wait of a fetch: longer ones are for streams.</summary>
    public const int FetchWaitMs = 60_000;

    /// <summary>
    /// A fetch that has something waits so long for more: what several shards have comes together, and it costs little.
    /// </summary>
    public const int FetchGatherMs = 5;

    /// <summary>
    /// A fetch that has something waits so long until all shards' leaders have answered: much longer than they take,
    /// and short for one who waits while a shard has none.
    /// </summary>
    public const int FetchAllMs = 2_000;

    /// <summary>Groups of one answer to ListGroups: each may need a question to every shard.</summary>
    public const int GroupsPerPage = 100;

    /// <summary>Records of an answer to PeekGroup that does not say how many.</summary>
    public const int DefaultPeeksPerPage = 100;

    /// <summary>Records of one answer to PeekGroup: some 300 bytes each at the worst.</summary>
    public const int PeeksPerPage = 1_000;

    /// <summary>Dead letters of an answer that does not say how many.</summary>
    public const int DefaultDeadLettersPerPage = 100;

    /// <summary>Dead letters of one answer, and of one request that names them.</summary>
    public const int DeadLettersPerPage = 1_000;

    /// <summary>Dead letters that may be asked to be redriven in a second: beyond it no pace can be kept.</summary>
    public const int RedrivesPerSecond = 100_000;

    /// <summary>
    /// How long one call redrives or purges before it answers what is left: well within the deadline of most clients.
    /// </summary>
    public const int DeadLetterCallMs = 5_000;

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

    /// <summary>
    /// Groups of a node that have series of their own in its metrics: a collector keeps each of their figures for long.
    /// </summary>
    public const int GroupsWithSeries = 200;

    /// <summary>
    /// How long an answer with metrics waits for the state of the groups; else it has the one that was counted last.
    /// </summary>
    public const int GroupCountMs = 500;

    /// <summary>Consumers with an open stream at one node.</summary>
    public const int GroupConsumersPerNode = 10_000;
}
