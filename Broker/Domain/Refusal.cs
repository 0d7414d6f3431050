namespace Broker.Domain;

/// <summary>The one place where refusals are worded: what was wrong, what was expected, what to do.</summary>
public static class Refusal
{
    /// <summary>Shards, and topics of each, that a sentence names.</summary>
    private const int NamedAtMost = 4;

    public static BrokerException InvalidArgument(string message) => Make(RefusalCode.InvalidArgument, message);

    public static BrokerException NotFound(string message) => Make(RefusalCode.NotFound, message);

    /// <param name="topic">The name that no topic has.</param>
    /// <param name="nearest">Names of topics that it may be meant for.</param>
    public static BrokerException AutoCreateOff(string topic, IReadOnlyList<string> nearest) => Make(
        RefusalCode.AutoCreateOff,
        $"There is no topic '{topic}', and topics are not made by their first publish here (auto-create is off). "
        + "Nothing was stored. "
        + (nearest.Count == 0
            ? "No topic has a name that is much like it"
            : $"The nearest {(nearest.Count == 1 ? "name is" : "names are")} '{string.Join("', '", nearest)}'")
        + "; correct the name, or make the topic (CreateTopic).");

    /// <param name="topicsByShard">Which of the topics lie in which shard.</param>
    public static BrokerException DifferentShards(
        IEnumerable<(GroupId Shard, IEnumerable<string> Topics)> topicsByShard) => Make(
            RefusalCode.DifferentShards,
            "What is stored together must lie in one shard, but "
            + string.Join("; ", topicsByShard.Take(NamedAtMost).Select(static each =>
                $"shard {each.Shard} has '{string.Join("', '", each.Topics.Take(NamedAtMost))}'"))
            + ". Nothing was stored. Publish to them one by one, or give topics that belong together names with the "
            + "same word in braces, such as orders.{42}.created and invoices.{42}: it alone decides the shard.");

    public static BrokerException PartlyStored(string topic) => Make(
        RefusalCode.PartlyStored,
        $"The batch for topic '{topic}' was stored before, by its producer stamp, and others that are to be stored "
        + "with it were not: they were put together in another way then. Nothing was stored now; repeat what was sent "
        + "together with the same stamps, or send what is new with new ones.");

    /// <summary>Why a publish among several keeps all of them from being stored.</summary>
    public static BrokerException OfPart(BrokerException refusal, int part) => new(
        refusal.Code, $"Part {part}: {refusal.Message}", refusal.LeaderHint, refusal.RetryAfter);

    public static BrokerException OutOfRange(string message) => Make(RefusalCode.OutOfRange, message);

    public static BrokerException FailedPrecondition(string message) => Make(RefusalCode.FailedPrecondition, message);

    /// <summary>What a reader hears when no other replica could be asked in its place.</summary>
    public static BrokerException ReadElsewhere(string topic, long offset) => Make(
        RefusalCode.ReadElsewhere,
        $"Offset {offset} of topic '{topic}' cannot be read from this replica's log now; read it from another "
        + "replica.");

    public static BrokerException TopicDeleted(string topic) => Make(
        RefusalCode.TopicDeleted,
        $"Topic '{topic}' was deleted while it was read. Offsets of a topic that is made under its name begin at 0: "
        + "forget those that you remember before you read it.");

    public static BrokerException Stopping() =>
        Make(RefusalCode.Stopping, "This node stops. Go on at another one.");

    public static BrokerException AlreadyExists(string message) => Make(RefusalCode.AlreadyExists, message);

    public static BrokerException UnexpectedOffset(string topic, long expected, long next) => Make(
        RefusalCode.UnexpectedOffset,
        $"expected_offset is {expected}, but the next offset of topic '{topic}' is {next}: somebody else has published "
        + "meanwhile, or not yet. Nothing was stored; read on, decide again, and publish with the new offset.");

    public static BrokerException MessageTooLarge(string topic, long limitBytes) => Make(
        RefusalCode.MessageTooLarge,
        $"A record of the batch is larger than the {limitBytes:N0} bytes that topic '{topic}' takes "
        + "(max_message_bytes). Nothing was stored; send less, or change the topic's settings.");

    /// <summary>For a field that the contract has and this version does not honour.</summary>
    public static BrokerException Unimplemented(string field, string whatItIs) => Make(
        RefusalCode.Unimplemented,
        $"{field} asks for {whatItIs}, which this version of the broker does not have yet. Send the request "
        + "without it.");

    public static BrokerException TooLarge(string what, long actualBytes, long limitBytes) => Make(
        RefusalCode.ResourceExhausted,
        $"{what} has {actualBytes:N0} bytes; the limit is {limitBytes:N0}. Send less at a time.");

    public static BrokerException Exhausted(string message) => Make(RefusalCode.ResourceExhausted, message);

    public static BrokerException TooManyTopics(string topic) => Make(
        RefusalCode.ResourceExhausted,
        $"Topic '{topic}' would be one more than the {Limits.Topics:N0} that a cluster may hold. Nothing was stored; "
        + "use fewer topics, with keys or headers to tell messages apart.");

    public static BrokerException TooManyProducers(string topic, ulong producerId) => Make(
        RefusalCode.TooManyProducers,
        $"Producer {producerId} is new to topic '{topic}', and as many others have published within the last "
        + $"{TimeSpan.FromMilliseconds(Limits.ProducerExpiryMs).TotalHours:N0} hours as are remembered: "
        + $"{Limits.ProducersPerTopic:N0} for a topic, {Limits.ProducersPerShard:N0} for a shard. Nothing was stored. "
        + "Keep producer ids across restarts, share one among several senders, or publish without a producer stamp.");

    public static BrokerException TooManyDelayed(string topic) => Make(
        RefusalCode.TooManyDelayed,
        $"With the delayed records for topic '{topic}' its shard would have more than the {Limits.DelayedPerShard:N0} "
        + "that it may. Nothing was stored; wait until some are due, cancel some (CancelDelayed), or publish without "
        + "deliver_at_unix_ms.");

    public static BrokerException Overloaded(string what, TimeSpan retryAfter) => new(
        RefusalCode.Overloaded,
        $"{what} is full. Nothing was stored; send again in {retryAfter.TotalMilliseconds:N0} ms.",
        NodeId.None,
        retryAfter);

    public static BrokerException TooManyKeys(string topic, string what, long limit) => Exhausted(
        $"Topic '{topic}' has {what} than {limit:N0}, which is as many as a read of the last record of each key looks "
        + "through; read it from the beginning.");

    public static BrokerException PartitionsChanged(string topic) => new(
        RefusalCode.PartitionsChanged,
        $"The partitions of topic '{topic}' are not those that this node knows, or are being made: the topic was made "
        + "or made again a moment ago. Nothing was done; retry.",
        NodeId.None,
        TimeSpan.FromMilliseconds(10));

    public static BrokerException PartitionsLag(string topic, string what) => new(
        RefusalCode.PartitionsChanged,
        $"Topic '{topic}' is {what}, but some of its partitions lie in shards that do not follow at the moment (an "
        + "election runs, or no majority of their nodes is up). They will by themselves; send it again to wait for "
        + "them.",
        NodeId.None,
        TimeSpan.FromMilliseconds(100));

    public static BrokerException NoSuchPartition(string topic, uint partition, int partitions) => NotFound(
        $"Topic '{topic}' has no partition {partition}; "
        + (partitions == 1 ? "its only one is 0." : $"they are 0 to {partitions - 1}."));

    public static BrokerException NoSuchGroup(string group) => NotFound(
        $"There is no consumer group '{group}'. Make it (CreateGroup), or consume with filters, which makes it.");

    public static BrokerException GroupDeleted(string group) => Make(
        RefusalCode.GroupDeleted,
        $"Consumer group '{group}' was deleted, and with it what it remembered. One that is made under its name is "
        + "another one.");

    public static BrokerException GroupDiffers(string group, string what) => Make(
        RefusalCode.GroupDiffers,
        $"Consumer group '{group}' has {what}. Leave it out of the request to consume as the group is, or change the "
        + "group (UpdateGroup).");

    public static BrokerException GroupExists(string topic, string group) => Make(
        RefusalCode.GroupExists,
        $"Topic '{topic}' holds the dead letters of consumer group '{group}'. Nothing was deleted; purge them "
        + "(PurgeDeadLetters), or delete the group first.");

    /// <param name="records">Of a request to settle.</param>
    public static BrokerException LeaseLost(long records) => Make(
        RefusalCode.LeaseLost,
        $"{records:N0} of the records are not this consumer's any more: their lease is over, they were settled "
        + "otherwise, the group went elsewhere, or the shard's leader changed. They may be delivered again; what else "
        + "the request says is done.");

    public static BrokerException TooManyHoles() => new(
        RefusalCode.Overloaded,
        "The shard remembers as many settled records behind others that are not as it may. Nothing was published, and "
        + "nothing settled; settle older records first.",
        NodeId.None,
        TimeSpan.FromSeconds(1));

    /// <summary>For some records all that was to be published with them is refused.</summary>
    /// <param name="lost">The range of the request, from 0, and the offset of each; in order.</param>
    public static BrokerException NotFinished(IReadOnlyList<(int Range, long Offset)> lost)
    {
        var named = new List<string>();
        for (var i = 0; i < lost.Count && named.Count < Limits.LostRunsNamed;)
        {
            var first = i++;
            while (i < lost.Count && lost[i].Range == lost[first].Range && lost[i].Offset == lost[i - 1].Offset + 1)
            {
                i++;
            }

            named.Add(i - first == 1
                ? $"{lost[first].Range}:{lost[first].Offset}"
                : $"{lost[first].Range}:{lost[first].Offset}-{lost[i - 1].Offset}");
        }

        return new BrokerException(
            RefusalCode.LeaseLost,
            $"{lost.Count:N0} of the records are not this consumer's any more (range:offset {Few(named)}): their "
            + "lease is over, they were settled otherwise, the group went elsewhere, or the shard's leader changed. "
            + "Nothing was published, and nothing settled; the others are the consumer's still.",
            NodeId.None,
            TimeSpan.Zero)
        {
            Lost = string.Join(',', named),
        };
    }

    public static BrokerException GroupLags(string group) => new(
        RefusalCode.PartitionsChanged,
        $"Consumer group '{group}' is made, but some shards do not follow at the moment (an election runs, or no "
        + "majority of their nodes is up). They will by themselves; send it again to wait for them.",
        NodeId.None,
        TimeSpan.FromMilliseconds(100));

    public static BrokerException NotLeader(GroupId group, NodeId leader) => new(
        RefusalCode.NotLeader,
        $"This node does not lead group {group}; node {leader} does. Nothing was stored; send it there.",
        leader,
        TimeSpan.Zero);

    public static BrokerException NoLeader(GroupId group) => new(
        RefusalCode.NoLeader,
        $"Group {group} has no leader at the moment (an election runs, or no majority of its nodes is up). Nothing was "
        + "stored; retry.",
        NodeId.None,
        TimeSpan.FromMilliseconds(50));

    /// <param name="what">What is wrong, and what to do, in words for the operator.</param>
    public static BrokerException QuorumLost(string what) => Make(RefusalCode.QuorumLost, what);

    public static BrokerException ReplicaLags(GroupId group, LogIndex index) => Make(
        RefusalCode.FailedPrecondition,
        $"This replica of shard {group} has not applied entry {index} yet, which was committed when the read came; "
        + "read from another replica, or retry.");

    public static BrokerException CannotTell(string topic, long offset, GroupId group) => new(
        RefusalCode.NoLeader,
        $"This replica does not have offset {offset} of topic '{topic}', and cannot ask the leader of group {group} "
        + "whether there is one; retry.",
        NodeId.None,
        TimeSpan.FromMilliseconds(50));

    /// <summary>The node takes no part in a cluster yet; the obstacle says what for.</summary>
    public static BrokerException NotFormed(string obstacle) => new(
        RefusalCode.NoLeader, $"{obstacle} Nothing was stored; retry.", NodeId.None, TimeSpan.FromSeconds(1));

    /// <param name="group">The group that cannot commit anything.</param>
    /// <param name="isFull">Whether it is known that a disk is full; others may hang.</param>
    public static BrokerException CannotWrite(GroupId group, bool isFull) => new(
        RefusalCode.Overloaded,
        $"Too few nodes of group {group} can write: disks {(isFull ? "are full" : "are full, or do not answer")}. "
        + "Nothing was stored; look after the brokers' disks (the health of each says what is wrong with its own), "
        + "then send again.",
        NodeId.None,
        TimeSpan.FromMilliseconds(Limits.DiskFullRetryMs));

    public static BrokerException ShortOfSpace(string node, long freeBytes, long reserveBytes) => new(
        RefusalCode.Overloaded,
        $"The disk of '{node}', which leads the topic's shard, has {freeBytes:N0} bytes left, less than the "
        + $"{reserveBytes:N0} that it keeps (Broker:DiskReserveBytes), and no other replica has space. Nothing was "
        + "stored; shorten what topics keep, delete topics, or enlarge the disk, then send again.",
        NodeId.None,
        TimeSpan.FromMilliseconds(Limits.DiskFullRetryMs));

    public static BrokerException OutcomeUnknown(GroupId group) => Make(
        RefusalCode.OutcomeUnknown,
        $"Leadership of group {group} moved, or its disk failed it, while the batch was under way: it may be stored or "
        + "not. Send it again with the same "
        + "producer stamp; a batch that is stored already is answered with its offset.");

    public static BrokerException OutOfSequence(string topic, ulong expected, ulong actual, int count) => Make(
        RefusalCode.OutOfSequence,
        $"The producer's next sequence on topic '{topic}' is {expected}, not {actual}. "
        + (actual > expected ? "Nothing was stored; send what lies between first."
            : expected - actual < (ulong)count
                ? "The batch is part old and part new. Nothing was stored now; repeat a batch with the same records."
                : "The batch is older than what the topic remembers of this producer: whether it was stored then is "
                    + "not known any more. Nothing was stored now; read the topic to find out."));

    public static BrokerException ProducerFenced(uint current, uint actual) => Make(
        RefusalCode.ProducerFenced,
        $"Producer epoch {actual} is fenced: epoch {current} has published. Nothing was stored; stop this producer.");

    public static BrokerException DataLost(string topic, long offset, long nextOffset) => Make(
        RefusalCode.DataLost,
        $"Offsets {offset} to {nextOffset - 1} of topic '{topic}' cannot be read on any replica: the same segment of "
        + $"the log is damaged on all of them. Go on at offset {nextOffset}; an operator can give one replica its file "
        + "back from a backup, and the broker's log names it.");

    public static BrokerException MembershipRefused(GroupId group, string change, string reason) => Make(
        RefusalCode.FailedPrecondition, $"{change} is not possible in group {group} now: {reason}.");

    public static BrokerException NodeUnreachable(string name, Uri address, string failure) => Make(
        RefusalCode.NodeUnreachable,
        $"'{name}' does not answer at {address}: {failure.TrimEnd('.')}. Nothing was changed; start it there, or "
        + "correct the address.");

    /// <param name="node">A dedicated controller.</param>
    /// <param name="dataNodes">The data nodes, and where they are.</param>
    public static BrokerException NoDataNode(string node, IReadOnlyList<string> dataNodes) => new(
        RefusalCode.NoLeader,
        $"'{node}' is a controller and holds no topics, and none of the data nodes "
        + $"({(dataNodes.Count == 0 ? "of which there is none yet" : Few([.. dataNodes]))}) is connected to it now. "
        + "Nothing was stored; retry, or ask a data node.",
        NodeId.None,
        TimeSpan.FromMilliseconds(200));

    /// <param name="dataNode">To which a controller has passed a call on.</param>
    public static BrokerException DataNodeBroke(string dataNode) => Make(
        RefusalCode.OutcomeUnknown,
        $"The call was passed on to data node '{dataNode}', which broke it off: what it asked for may be done or not. "
        + "Send it again, a publish with the same producer stamp.");

    /// <summary>What another node has refused, in its words.</summary>
    public static BrokerException ByPeer(RefusalCode code, string message) => Make(code, message);

    private static string Few(List<string> names) =>
        string.Join(", ", names.Take(NamedAtMost)) + (names.Count > NamedAtMost ? ", ..." : "");

    private static BrokerException Make(RefusalCode code, string message) =>
        new(code, message, NodeId.None, TimeSpan.Zero);
}
