namespace Broker.State;

/// <summary>
/// What a command in a log entry asks of the state machine. The numbers are on disk: never reuse one.
/// </summary>
public enum CommandKind : byte
{
    /// <summary>Stores a record batch in a topic (data shards).</summary>
    Publish = 1,

    /// <summary>Removes a topic's records before an offset (data shards).</summary>
    PurgeTopic = 2,

    /// <summary>Makes a topic with settings of its own (data shards).</summary>
    CreateTopic = 3,

    /// <summary>Changes some of a topic's settings (data shards).</summary>
    UpdateTopic = 4,

    /// <summary>Removes a topic and all that it holds (data shards).</summary>
    DeleteTopic = 5,

    /// <summary>Stores a record batch if it gets a given offset (data shards).</summary>
    PublishAtOffset = 6,

    /// <summary>Removes what a topic's settings do not keep any longer (data shards).</summary>
    TrimTopic = 7,

    /// <summary>Up to an offset only the last record of each key is left (data shards).</summary>
    CompactTopic = 8,

    /// <summary>Stores several batches of this shard, or none of them (data shards).</summary>
    PublishAtomic = 9,

    /// <summary>
    /// Stores a record batch in one partition of a topic that has several, if it is still the one that was meant (data
    /// shards).
    /// </summary>
    PublishToPartition = 11,

    /// <summary>Makes a topic of several partitions, and the first of them (data shards).</summary>
    CreatePartitionedTopic = 12,

    /// <summary>
    /// Makes the partitions of a topic that belong to this shard, or gives them its settings (data shards).
    /// </summary>
    MakePartitions = 13,

    /// <summary>Tells a topic which numbers its partitions have in their shards (data shards).</summary>
    PlacePartitions = 14,

    /// <summary>Removes partitions of which the topic is gone (data shards).</summary>
    RemovePartitions = 15,

    /// <summary>Gives the cluster its id (metadata group).</summary>
    ClusterCreated = 16,

    /// <summary>Makes a node and its disk known (metadata group).</summary>
    NodeRegistered = 17,

    /// <summary>Starts or replaces a live subscription (metadata group).</summary>
    PutLiveSubscription = 18,

    /// <summary>Ends a live subscription (metadata group).</summary>
    DeleteLiveSubscription = 19,

    /// <summary>Another disk takes the place of a node's lost one (metadata group).</summary>
    NodeReplaced = 20,

    /// <summary>
    /// Stores a record batch of which groups are to get some records at a later time (data shards).
    /// </summary>
    PublishDelayed = 21,

    /// <summary>
    /// How topics come to be: a template, or whether their first publish makes them (metadata group).
    /// </summary>
    TopicPolicyChanged = 22,

    /// <summary>The time of delayed records has come: groups get them (data shards).</summary>
    DelayDue = 23,

    /// <summary>Delayed records are not to be delivered any more (data shards).</summary>
    CancelDelayed = 24,

    /// <summary>Names the members that the cluster began with (metadata group).</summary>
    MembersFounded = 32,

    /// <summary>Takes a node in as a member, with a number that nobody had before (metadata group).</summary>
    MemberJoined = 33,

    /// <summary>A member has another address (metadata group).</summary>
    MemberMoved = 34,

    /// <summary>A member has settled, is to leave, or has left (metadata group).</summary>
    MemberChanged = 35,

    /// <summary>An operator wants a shard led by a node (metadata group).</summary>
    LeaderPlaced = 36,

    /// <summary>A member is to lead nothing for a while, or may lead again (metadata group).</summary>
    MemberDrained = 37,

    /// <summary><see cref="MembersFounded"/> with the members' roles (metadata group).</summary>
    MembersFoundedWithRoles = 38,

    /// <summary><see cref="MemberJoined"/> with the node's roles (metadata group).</summary>
    MemberJoinedWithRoles = 39,

    /// <summary>How many nodes are to vote in a shard for topics (metadata group).</summary>
    ShardVotersSet = 40,

    /// <summary>Which nodes are to vote in a shard for topics (metadata group).</summary>
    ShardPlaced = 41,

    /// <summary><see cref="ShardVotersSet"/>, and only those keep a shard's records (metadata group).</summary>
    ShardReplicasSet = 42,

    /// <summary>Makes a consumer group (metadata group).</summary>
    CreateConsumerGroup = 48,

    /// <summary>Changes a consumer group's settings (metadata group).</summary>
    UpdateConsumerGroup = 49,

    /// <summary>Removes a consumer group (metadata group).</summary>
    DeleteConsumerGroup = 50,

    /// <summary>Says where a consumer group begins in topics that are there (data shards).</summary>
    OpenGroup = 54,

    /// <summary>Records are finished for a consumer group, or were delivered in vain (data shards).</summary>
    SettleRecords = 55,

    /// <summary>A consumer group goes to another place in a topic (data shards).</summary>
    SeekGroup = 56,

    /// <summary>Forgets how far a consumer group was (data shards).</summary>
    CloseGroup = 57,

    /// <summary>A record is finished for a consumer group, as a dead letter (data shards).</summary>
    BuryRecord = 58,

    /// <summary>Forgets how far consumer groups were in topics that are gone (data shards).</summary>
    ForgetTopics = 59,

    /// <summary>
    /// Records are finished for consumer groups, and what comes of them is stored: both, or neither (data shards).
    /// </summary>
    PublishAndSettle = 62,
}
