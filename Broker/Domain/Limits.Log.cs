namespace Broker.Domain;

/// <content>The log: its entries, segments and snapshots, what is taken out of it, and its replication.</content>
public static partial class Limits
{
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
    /// The same while a group's log has more than <see cref="ThinnedBacklogBytes"/> to give back: publishes come faster
    /// than the other pace, and the disk would fill with what nobody wants.
    /// </summary>
    public const int ThinnedBytesPerSecondBehind = 256 * 1024 * 1024;

    /// <summary>What a group's log may have to give back before the node hurries: four full-grown segments.</summary>
    public const long ThinnedBacklogBytes = 4L * 64 * 1024 * 1024;

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
    /// How long a log is left alone, in milliseconds, when nothing of it can be given back, or it failed: a look passes
    /// over all topics, and what waits costs nothing but its space.
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
    /// The same where a learner alone is held up, which nobody waits for: what is damaged is mended by then, where that
    /// can be, and where no replica can read it leadership does not change hands more often.
    /// </summary>
    public const long HandOverForLearnerMs = 30_000;

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
}
