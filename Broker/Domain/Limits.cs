using Broker.Client.Tracing;

namespace Broker.Domain;

/// <summary>Every bound of the node in one place, each with the reason for its value.</summary>
public static class Limits
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
    /// The largest body of a log entry that gathers waiting commands. One oversized batch may stand alone.
    /// </summary>
    public const int EntryBodyBytes = 1024 * 1024;

    /// <summary>The most commands in one log entry.</summary>
    public const int CommandsPerEntry = 4096;

    /// <summary>The largest entry that a peer or a disk may present: one batch with its topic and stamp.</summary>
    public const int EntryBytes = (4 * 1024 * 1024) + (64 * 1024);

    /// <summary>
    /// A state machine's snapshot: 100,000 topics take 30 MiB, the rest is for a shard's producers. It is held in
    /// memory as a whole while it is written, sent and restored, beside the state itself. A state that is larger, as an
    /// older version may have left it, gets no snapshot: the log stays, and a start replays it.
    /// </summary>
    public const int SnapshotBytes = 512 * 1024 * 1024;

    /// <summary>
    /// The largest segment that a log may be set to have; its length and offsets are 32-bit numbers in the index.
    /// </summary>
    public const int SegmentBytes = 1024 * 1024 * 1024;

    /// <summary>
    /// Directory or body of a sealed segment's index: a batch's place takes less room in it than the batch in the
    /// segment.
    /// </summary>
    public const int SegmentIndexBytes = SegmentBytes;

    /// <summary>
    /// Appended but not committed bytes of one group: beyond it publishes are refused, the leader stays.
    /// </summary>
    public const int UncommittedBytesPerGroup = 32 * 1024 * 1024;

    /// <summary>
    /// Linearizable reads that wait for the confirmation of their leader, per group: one for each connection that the
    /// node would take. A round trip confirms them all.
    /// </summary>
    public const int PendingReadsPerGroup = 10_000;

    /// <summary>
    /// Segments that a log drops with one write, once a second: the group's next write waits until their files are
    /// removed, which takes a file system some 10 ms for 64 MiB.
    /// </summary>
    public const int SegmentsDroppedAtOnce = 64;

    /// <summary>The same in bytes: more than a group can publish in a second.</summary>
    public const long BytesDroppedAtOnce = 512L * 1024 * 1024;

    /// <summary>
    /// What a node reads of sealed segments in a second to write them anew without what is gone, and half as much that
    /// it writes at the most: as fast as publishes come for long, and an eighth of what a common disk gives.
    /// </summary>
    public const int ThinnedBytesPerSecond = 64 * 1024 * 1024;

    /// <summary>
    /// A sealed segment is written anew when one part in so many of it can be given back: a half, so that no byte of
    /// the disk is read for less than another one that is won, and a log takes at most twice what is wanted of it.
    /// </summary>
    public const int ThinnedPart = 2;

    /// <summary>
    /// Segments in a row of which nothing is wanted become one, up to the size of a full-grown one; more of them at
    /// once would hold the log's writer up while their files are deleted.
    /// </summary>
    public const int MergedSegmentsMax = SegmentsDroppedAtOnce;

    /// <summary>
    /// How long a log is left alone when nothing of it can be given back: a look passes over all topics, in
    /// milliseconds, and what waits costs nothing but its space.
    /// </summary>
    public const long ThinnedLookMs = 5_000;

    /// <summary>
    /// Keys that are held at once where the last record of each is looked for: 48 MiB. A compaction of a topic with
    /// more of them reads the topic once for each so many, one topic of a node at a time; a read of the last record of
    /// each key is refused.
    /// </summary>
    public const int KeysPerScan = 900_000;

    /// <summary>
    /// Offsets of a topic that a compaction looks at, from the first one that is kept: at most 64 MiB of memory while
    /// it has something to take out. What comes later waits until the topic's beginning is purged.
    /// </summary>
    public const long OffsetsPerScan = 1L << 28;

    /// <summary>
    /// What a group remembers of which records can be taken out, over all its compacted topics: two of the largest.
    /// </summary>
    public const long JudgementBytes = 128 * 1024 * 1024;

    /// <summary>Reads of the last record of each key that look for them at the same time, on a node.</summary>
    public const int KeyReadsAtOnce = 4;

    /// <summary>
    /// So many of the newest snapshots stay, in case that one is damaged. Of older ones as many stay as a log needs to
    /// drop its beginning in time, and in the steps above.
    /// </summary>
    public const int NewestSnapshots = 3;

    /// <summary>
    /// Commands that a leader proposes by itself and that are not applied yet, per group: as many as one entry takes
    /// beside the same number of publishes.
    /// </summary>
    public const int DutiesAtOnce = CommandsPerEntry / 2;

    /// <summary>Publishes that wait for a group's loop, per group.</summary>
    public const int WaitingProposalsPerGroup = 65_536;

    /// <summary>Bytes of publishes that wait for a group's loop, per group.</summary>
    public const int WaitingProposalBytesPerGroup = 32 * 1024 * 1024;

    /// <summary>
    /// AppendEntries bytes in flight to one follower: covers bandwidth times delay of a fast local network.
    /// </summary>
    public const int InFlightBytesPerFollower = 4 * 1024 * 1024;

    /// <summary>Bytes in one AppendEntries message; a single larger entry is sent alone.</summary>
    public const int AppendMessageBytes = 1024 * 1024;

    /// <summary>
    /// After so long without a write, a log's last entries get their proof of having been durable: short, since until
    /// then a flipped bit in them looks like a write that never returned; long enough that steady publishing never pays
    /// the two flushes.
    /// </summary>
    public const long RaiseFloorAfterMs = 200;

    /// <summary>
    /// How long a leader may be unable to read what it must before it hands over: longer than most repairs take,
    /// shorter than most callers' deadlines.
    /// </summary>
    public const long HandOverAfterMs = 5_000;

    /// <summary>
    /// How long a write of a group may take before another replica leads, if one can write: the longest election
    /// timeout, as a leader that cannot write is worth no more than one that is silent.
    /// </summary>
    public const long WriteStallMs = 1_000;

    /// <summary>
    /// How long a write waits for the writer before a thread of its own begins with it: many times what a flush takes,
    /// and short beside an election.
    /// </summary>
    public const long WriteExpediteMs = 50;

    /// <summary>How long a full disk is left alone before a write is tried again.</summary>
    public const long DiskFullRetryMs = 1_000;

    /// <summary>
    /// The same for what is read and written beside the log, for which nobody waits; and after which time it is told
    /// that nothing comes to an end.
    /// </summary>
    public const long BackgroundExpediteMs = 1_000;

    public const long BackgroundStallMs = 10_000;

    /// <summary>How long a replica stands still behind its leader before that is told: above any election.</summary>
    public const long BehindAfterMs = 10_000;

    /// <summary>What a stop waits for a thread that the disk may hold: less than most supervisors wait.</summary>
    public const int StopWithinMs = 5_000;

    /// <summary>
    /// How far behind the committed entries a replica may be that is given leadership for the sake of balance: what it
    /// catches up with in a moment, so that publishes hardly wait.
    /// </summary>
    public const int TransferLagEntries = 64;

    /// <summary>
    /// AppendEntries messages to one follower that wait for entries from disk: the window of bytes in flight in pieces
    /// of AppendMessageBytes, and the empty ones between them. Raft sends again what is beyond.
    /// </summary>
    public const int MessagesPerSendLane = 64;

    /// <summary>
    /// What one read of a replay takes from disk: large enough to be sequential, small enough to apply in one go.
    /// </summary>
    public const int ReadAheadBytes = 4 * 1024 * 1024;

    /// <summary>Recent entries kept in memory per group for followers, for apply and for readers at the tail.</summary>
    public const int TailCacheBytesPerGroup = 16 * 1024 * 1024;

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
    /// The shortest silence after which a node may be evicted: an election and a long pause must not look like one.
    /// </summary>
    public const int EvictAfterMinMs = 5_000;

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
    /// How long a linearizable read waits for its leader's word and for the own replica: an election, in which a leader
    /// that hangs is given up, and less than the patience of any caller.
    /// </summary>
    public const int LinearizableReadMs = 4_000;

    /// <summary>
    /// Disks that were replaced by others and are remembered: ten for each node that a cluster may have.
    /// </summary>
    public const int RetiredStores = 1_000;

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
    /// Heartbeats and answers that wait for one peer's stream: far above one of each for every group a node may have.
    /// </summary>
    public const int HeartbeatsPerPeerQueue = 16_384;

    /// <summary>
    /// What a node sends of snapshots and of entries for repair, together: fast enough to give a segment away in a
    /// second, an eighth of what a common disk flushes, so that publishes keep the rest.
    /// </summary>
    public const int TransferBytesPerSecond = 64 * 1024 * 1024;

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
