using Broker.Client.Tracing;

namespace Broker.Domain;

/// <summary>
/// Every bound of the node in one place, each with the reason for its value: here those of requests, topics and the
/// cluster; then those of the log and its replication, and those of consumer groups.
/// </summary>
public static partial class Limits
{
    /// <summary>A record's value. Larger things belong in a blob store, with their address in a message.</summary>
    public const int RecordBytes = 1024 * 1024;

    /// <summary>
    /// An encoded record batch: large enough to amortize a flush, small enough that one never stalls a heartbeat. What
    /// is accepted must reach a reader with gRPC's default limit of 4 MiB: 1 KiB is left for what is around the batch.
    /// </summary>
    public const int BatchBytes = (4 * 1024 * 1024) - 1024;

    /// <summary>
    /// Records of one batch: with them go the places that readers and consumers keep of each. Far above what pays.
    /// </summary>
    public const int RecordsPerBatch = 65_536;

    /// <summary>Headers of one record.</summary>
    public const int HeadersPerRecord = 64;

    /// <summary>Name plus value of one header, and a record's key.</summary>
    public const int HeaderBytes = 8 * 1024;

    public const int KeyBytes = 8 * 1024;

    /// <summary>As in NATS and Kafka (249): a name that still fits a file name and a log line.</summary>
    public const int TopicNameBytes = 255;

    /// <summary>Topics of a cluster: each costs about 300 bytes of memory on every replica.</summary>
    public const int Topics = 100_000;

    /// <summary>
    /// Partitions of one topic: far more than consumers that share it, and each is a topic to its shard.
    /// </summary>
    public const int PartitionsPerTopic = 1_000;

    /// <summary>
    /// Partitions whose offsets one page of a list of topics tells, with at least one topic: at most 0.5 MiB.
    /// </summary>
    public const int PartitionsPerPage = 20_000;

    /// <summary>Publishes that are stored together: more than a unit of work has, and quick to judge.</summary>
    public const int AtomicParts = 1_000;

    /// <summary>
    /// The same in bytes, with the name and some 40 bytes more of each: one entry of the log, as large as the largest
    /// batch makes one.
    /// </summary>
    public const int AtomicPublishBytes = 4 * 1024 * 1024;

    /// <summary>
    /// Topic templates of a cluster: each is looked at when a topic of a new name is made, in some 50 ns.
    /// </summary>
    public const int TopicTemplates = 1_000;

    /// <summary>Topic templates in one page of a list.</summary>
    public const int TemplatesPerPage = 100;

    /// <summary>
    /// Names of each shard that are compared with one that does not exist, to tell the nearest: a few milliseconds.
    /// </summary>
    public const int NamesLookedAt = 10_000;

    /// <summary>
    /// A producer's last batches are remembered for so long after the last of them, by the log's time: a day outlives
    /// every sensible retry. It is never forgotten sooner, or a repeated batch would be stored twice.
    /// </summary>
    public const long ProducerExpiryMs = 24 * 60 * 60 * 1_000L;

    /// <summary>
    /// Producers that a topic remembers; beyond it a new one is refused. One that starts anew every second, under
    /// another id each time, fits in a day.
    /// </summary>
    public const int ProducersPerTopic = 100_000;

    /// <summary>
    /// The same for all topics of a shard: with 16 batches each they take at most 400 MiB of a snapshot.
    /// </summary>
    public const int ProducersPerShard = 1_000_000;

    /// <summary>
    /// Remembered batches per producer and topic: a client may have so many in flight (Kafka keeps 5).
    /// </summary>
    public const int RememberedBatchesPerProducer = 16;

    /// <summary>
    /// Records of a shard that wait to be due: some 130 bytes of memory each, and ten of every snapshot.
    /// </summary>
    public const int DelayedPerShard = 1_000_000;

    /// <summary>Records of a topic that one command says to be due: 12 bytes each, and quick to apply.</summary>
    public const int DelayedDueAtOnce = 1_000;

    /// <summary>Delayed records that one request names, or one page of a list has: about 100 bytes each.</summary>
    public const int DelayedPerPage = 10_000;

    /// <summary>The same where the caller does not say.</summary>
    public const int DefaultDelayedPerPage = 1_000;

    /// <summary>UTF-8 bytes of what operators call nodes and live subscriptions, and of a node's address.</summary>
    public const int OperatorNameBytes = 255;

    /// <summary>Live subscriptions of a cluster, and filters of each.</summary>
    public const int LiveSubscriptions = 1_000;

    public const int FiltersPerLiveSubscription = 100;

    /// <summary>
    /// A batch above this is announced on Redis by its offsets alone: Redis drops slow readers of large messages.
    /// </summary>
    public const int LiveBatchBytes = 256 * 1024;

    /// <summary>
    /// Batches that wait for Redis; beyond it the oldest is dropped, and subscribers fill the gap from the log.
    /// </summary>
    public const int LiveQueueBatches = 10_000;

    /// <summary>The same in bytes: what a node may spend on a Redis that is slow or away.</summary>
    public const int LiveQueueBytes = 32 * 1024 * 1024;

    /// <summary>
    /// Bytes handed to the Redis client before one answer is awaited: bounds the client's own, unbounded queue.
    /// </summary>
    public const int LiveUnconfirmedBytes = 1024 * 1024;

    /// <summary>
    /// Readers of one node that wait at the tail of a topic: one for each connection that the node would take.
    /// </summary>
    public const int TailReaders = 10_000;

    /// <summary>
    /// Subscriptions by filter that one node serves at a time: each remembers how far it is in every topic that it has
    /// seen, some 100 bytes for each, and a batch that all of them want marks all of them.
    /// </summary>
    public const int Subscriptions = 1_000;

    /// <summary>Filters of one subscription: as many as one of Redis may have.</summary>
    public const int FiltersPerSubscription = 100;

    /// <summary>Positions with which a subscription may go on: with names of 255 bytes about 3 MiB.</summary>
    public const int PositionsPerSubscription = 10_000;

    /// <summary>
    /// Nodes that a cluster may have registered: far above any sensible Raft cluster, and a bound on its metadata.
    /// </summary>
    public const int ClusterNodes = 100;

    /// <summary>
    /// Voters that every shard keeps when a silent one is evicted. With fewer nothing is won: a majority of two is
    /// both, as many as a majority of three.
    /// </summary>
    public const int VotersAfterEviction = 3;

    /// <summary>
    /// Voters that an operator may have each shard for topics have, at the least: with fewer, one dead node would stop
    /// it, or one lost disk lose what was acknowledged.
    /// </summary>
    public const int LeastShardVoters = 3;

    /// <summary>
    /// The shortest silence after which a node may be evicted: an election and a long pause must not look like one.
    /// </summary>
    public const int EvictAfterMinMs = 5_000;

    /// <summary>How long a call that removes a node waits for others to be reached that must do without it.</summary>
    public const int SpareWaitMs = 10_000;

    /// <summary>How long a call that drains a node waits until the node leads nothing.</summary>
    public const int DrainWaitMs = 20_000;

    /// <summary>Addresses that were told of a node and are tried in turn while it is not reached.</summary>
    public const int AddressesPerNode = 4;

    /// <summary>A command on the metadata that one node hands to another: 32 members with long names fit.</summary>
    public const int MetadataCommandBytes = 64 * 1024;

    /// <summary>Shards for topics: each is a Raft group on every node, with a log and heartbeats of its own.</summary>
    public const int Shards = 256;

    /// <summary>
    /// Topics in one page of a list: with names of 255 bytes about 3 MiB, which a default client can receive.
    /// </summary>
    public const int TopicsPerPage = 10_000;

    /// <summary>The same where the caller does not say: a page that is quick to make and to read.</summary>
    public const int DefaultTopicsPerPage = 1_000;

    /// <summary>Live subscriptions in one page: with all their filters at most 2.5 MiB.</summary>
    public const int LiveSubscriptionsPerPage = 100;

    /// <summary>
    /// How long a read waits for a follower to have what the topic's leader has: many round trips, and less than the
    /// patience of any caller.
    /// </summary>
    public const int ReadCatchUpMs = 1_000;

    /// <summary>
    /// How long a follower may hear later than the leader that the last entry has committed, where nobody waits for it:
    /// longer than one message takes that follows another, so that this carries the news, and short for who looks.
    /// </summary>
    public const int CommitNoticeMs = 5;

    /// <summary>
    /// How long a linearizable read waits for its leader's word and for the own replica: an election, in which a leader
    /// that hangs is given up, and less than the patience of any caller.
    /// </summary>
    public const int LinearizableReadMs = 4_000;

    /// <summary>
    /// Disks that were replaced by others and are remembered: ten for each node that a cluster may have.
    /// </summary>
    public const int RetiredStores = 1_000;

    /// <summary>Bytes of batches in one answer to a reader.</summary>
    public const int ReadResponseBytes = 1024 * 1024;

    /// <summary>Characters in which an operator says who orders what is written down.</summary>
    public const int OperatorNameChars = 255;

    /// <summary>
    /// Publishes under way on one PublishStream; beyond it the stream is not read, so HTTP/2 holds the sender back.
    /// </summary>
    public const int PublishesInFlightPerStream = 1_024;

    /// <summary>
    /// Publishes, or their answers, in one message of a PublishStream: as many as may be under way on the stream.
    /// </summary>
    public const int PublishesPerMessage = PublishesInFlightPerStream;

    /// <summary>
    /// Bytes of publishes that a node holds for the leaders on other nodes, or until there is one: what two of them
    /// take in (<see cref="WaitingProposalBytesPerGroup"/>). Beyond it publishes are refused with a time to come back.
    /// </summary>
    public const long ForwardedBytes = 64 * 1024 * 1024;

    /// <summary>
    /// Bytes that a node holds of clients' messages that have not come to their end: of 128 as large as a record may
    /// be. Beyond it calls that wait for the rest of theirs are refused with a time to come back.
    /// </summary>
    public const long ReceivingBytes = 128L * RecordBytes;

    /// <summary>Messages that wait for one peer's stream; beyond it they are dropped, and Raft sends again.</summary>
    public const int MessagesPerPeerQueue = 4_096;

    /// <summary>
    /// The same in bytes. Bodies are mostly shared with the tail cache; a peer that reads nothing must not pin more of
    /// them than a few groups' windows (<see cref="InFlightBytesPerFollower"/>).
    /// </summary>
    public const int PeerQueueBytes = 64 * 1024 * 1024;

    /// <summary>
    /// The payload of a frame between peers: an envelope of many messages, or one of a single, larger message. A length
    /// beyond it is garbage, and ends the connection.
    /// </summary>
    public const int PeerFrameBytes = GrpcMessageBytes;

    /// <summary>
    /// Connections to the peers' port that have not said yet what they are; beyond it others are closed at once. A
    /// cluster's own are a few, each for a moment.
    /// </summary>
    public const int PeerConnectionsAtDoor = 64;

    /// <summary>
    /// Heartbeats and answers that wait for one peer's stream: far above one of each for every group a node may have.
    /// </summary>
    public const int HeartbeatsPerPeerQueue = 16_384;

    /// <summary>
    /// The least that a node may be told to send of snapshots, repairs and copies in a second: the largest snapshot
    /// arrives within the five minutes that it has.
    /// </summary>
    public const long TransferBytesPerSecondMin = 4 * 1024 * 1024;

    /// <summary>
    /// One piece of a transfer: what is lost when it breaks, and the most that a peer may send at once.
    /// </summary>
    public const int TransferChunkBytes = 1024 * 1024;

    /// <summary>Snapshots that a node gives away at the same time; each holds its data in memory.</summary>
    public const int SnapshotTransfersAtOnce = 4;

    /// <summary>Fetches of entries that a node serves at the same time; each holds a few chunks in memory.</summary>
    public const int FetchesAtOnce = 2;

    /// <summary>Attempts of a transfer in a row that bring nothing; then whoever wants it decides anew.</summary>
    public const int TransferAttempts = 5;

    /// <summary>
    /// Traced publishes of one entry, or of one batch for a consumer, that get spans or links: as many traces as begin
    /// in the time of a few flushes.
    /// </summary>
    public const int TracedPublishesPerEntry = TraceContexts.Length;

    /// <summary>Traced entries of a group on their way; spans of more are left out.</summary>
    public const int TracedEntriesPerGroup = 64;

    /// <summary>Records of one entry, or one batch for a consumer, whose headers are looked at: about 30 µs.</summary>
    public const int RecordsLookedAtForTraces = 1_024;

    /// <summary>The largest gRPC message between peers and from clients: one batch and its envelope.</summary>
    public const int GrpcMessageBytes = BatchBytes + 1024 * 1024;
}
