using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// What kind of world a seed lives in. Drawn first, so that a seed's world does not depend on what happens in it.
/// </summary>
internal sealed record Scenario
{
    public required int Nodes { get; init; }

    /// <summary>Groups, of each of which every node has a replica, all on one disk. Raft alone has one.</summary>
    public required int Groups { get; init; }

    /// <summary>
    /// Streams keep their order and lose messages only when they break, as in production; otherwise anything goes.
    /// </summary>
    public required bool HasStreams { get; init; }

    public required double LossRate { get; init; }

    public required double DuplicateRate { get; init; }

    public required long NetworkDelayMaxUs { get; init; }

    public required long FlushMinUs { get; init; }

    public required long FlushMaxUs { get; init; }

    /// <summary>Faults come at random intervals of up to this.</summary>
    public required long FaultIntervalMaxUs { get; init; }

    public required long ProposeIntervalMaxUs { get; init; }

    /// <summary>Faults last up to this.</summary>
    public required long FaultLengthMaxUs { get; init; }

    public required int MaxAppendBytes { get; init; }

    public required int MaxInFlightBytes { get; init; }

    public required int MaxUncommittedBytes { get; init; }

    /// <summary>Whether a connection that breaks is noticed: always, mostly, never.</summary>
    public required double NoticeRate { get; init; }

    /// <summary>
    /// How often a new leader crashes, is cut off or falls silent within moments, its first entries half spread: what
    /// Raft's figure 8 needs.
    /// </summary>
    public required double UnluckyLeaderRate { get; init; }

    /// <summary>
    /// How often a replica crashes while it truncates, drops or replaces its log, or writes entries together with their
    /// term.
    /// </summary>
    public required double UnluckyWriteRate { get; init; }

    /// <summary>Small segments begin often.</summary>
    public required int SegmentBytes { get; init; }

    /// <summary>How often everything is purged: small logs that are dropped often need snapshots.</summary>
    public required long PurgeIntervalMaxUs { get; init; }

    /// <summary>
    /// How long topics remember their producers. Where it is short, a crowd of producers publishes in place of the few
    /// that never stop, and clocks jump far beyond it.
    /// </summary>
    public required long ProducerExpiryMs { get; init; }

    /// <summary>How long followers to which nobody listens may hear later of the last commit.</summary>
    public required int CommitNoticeMs { get; init; }

    /// <summary>What purges leave as it is.</summary>
    public required KeptTopic Keeps { get; init; }

    /// <summary>
    /// Whether there is a consumer group. Drawn beside the others: without it a seed is what it was.
    /// </summary>
    public bool HasConsumers { get; init; }

    public bool HasCrowd => ProducerExpiryMs < 1_000_000;

    public bool Purges => PurgeIntervalMaxUs < 1_000_000_000;

    /// <summary>Each node's clock runs slower or faster by up to this part.</summary>
    public required double ClockSkew { get; init; }

    /// <summary>
    /// How many nodes may join one after another, by request; members then also leave, and the voters of every group
    /// follow from the replicated members. Drawn beside the others: without it a seed is what it was.
    /// </summary>
    public int Joiners { get; init; }

    public bool HasMembership => Joiners > 0;

    /// <summary>
    /// What each founder is for; empty: all have both roles. Then the first group is what controllers vote in, and it
    /// has topics here as the others have. Drawn beside the others: without it a seed is what it was.
    /// </summary>
    public IReadOnlyList<NodeRoles> Roles { get; init; } = [];

    public bool HasRoles => Roles.Count > 0;

    /// <summary>
    /// Whether only some nodes vote in a shard, now and then. Drawn beside the others: without it a seed is what it
    /// was.
    /// </summary>
    public bool Places { get; init; }

    /// <summary>
    /// What a node sends of its logs to learners in a second. Drawn beside the others: without it a seed is what it
    /// was.
    /// </summary>
    public long TransferBytesPerSecond { get; init; } = 64 * 1024 * 1024;

    /// <summary>How long a member may be silent before it is evicted; null: for ever.</summary>
    public TimeSpan? EvictAfter { get; init; }

    /// <summary>
    /// A world where members change; in two of three silent ones are evicted, and faults last long enough for that, in
    /// a cluster that can spare one.
    /// </summary>
    public Scenario WithMembership(Random random, int joiners)
    {
        var evicts = joiners > 0 && random.Next(3) > 0;
        return !evicts ? this with { Joiners = joiners } : this with
        {
            Joiners = joiners,
            Nodes = random.Next(4, 6),
            EvictAfter = TimeSpan.FromMilliseconds(random.Next(500, 1_500)),
            FaultLengthMaxUs = Math.Max(FaultLengthMaxUs, 6_000_000),
        };
    }

    /// <summary>
    /// In three of four worlds where members change and there are several groups: three voters of each at least.
    /// Streams keep their order there: no majority waits for data nodes, which only receive the first group's log, and
    /// where messages overtake one another they could fall behind for ever.
    /// Topics of several partitions, and consumers, would need every group on every node, as groups have topics here
    /// that in the real cluster have none.
    /// </summary>
    public Scenario WithRoles(Random random)
    {
        const NodeRoles Controller = NodeRoles.Controller, Data = NodeRoles.Data, Both = NodeRoles.Both;
        if (!HasMembership || !HasStreams || Groups < 2 || random.Next(4) == 0)
        {
            return this;
        }

        NodeRoles[] roles = Pick<NodeRoles[]>(
            random,
            [Controller, Controller, Controller, Data, Data, Data],
            [Data, Controller, Both, Controller, Data],
            [Controller, Both, Both, Both],
            [Both, Data, Both, Data, Both],
            [Data, Both, Both, Both]);
        return this with { Roles = roles, Nodes = roles.Length, HasConsumers = false };
    }

    /// <summary>
    /// In two of three worlds where members change and streams keep their order, for the reason that
    /// <see cref="WithRoles"/> has: those that do not vote only receive the log. The first group is not placed.
    /// </summary>
    public Scenario WithPlaces(Random random) => !HasMembership || !HasStreams || random.Next(3) == 0
        ? this
        : this with
        {
            Places = true,
            Groups = Math.Max(Groups, random.Next(2, 4)),
            Nodes = HasRoles ? Nodes : Math.Max(Nodes, random.Next(4, 6)),
        };

    /// <summary>
    /// In two of three worlds whose streams keep their order copies take their time, yet less than what is published
    /// meanwhile. Elsewhere most of a copy is refused and comes again, and what is refused counts, too.
    /// </summary>
    public Scenario WithTransfers(Random random) => !HasStreams
        ? this
        : this with { TransferBytesPerSecond = Pick(random, 64 * 1024 * 1024, 4 * 1024 * 1024, 512 * 1024) };

    public static Scenario Draw(Random random)
    {
        var hasStreams = random.Next(2) == 0;
        var maxAppendBytes = Pick(random, 200, 1_000, 1_000_000);
        var maxInFlightBytes = Pick(random, 400, 4_000, 4_000_000);
        return new Scenario
        {
            Nodes = Pick(random, 3, 3, 3, 5, 2),
            HasStreams = hasStreams,
            LossRate = Pick(random, 0, 0.001, 0.01, hasStreams ? 0.01 : 0.2),
            DuplicateRate = hasStreams ? 0 : Pick(random, 0, 0.01, 0.1),
            NetworkDelayMaxUs = Pick(random, 500, 2_000, 20_000, 80_000),
            FlushMinUs = Pick(random, 50, 200),
            FlushMaxUs = Pick(random, 300, 5_000, 50_000),
            FaultIntervalMaxUs = Pick(random, 300_000, 1_000_000, 4_000_000),
            ProposeIntervalMaxUs = Pick(random, 2_000, 20_000, 100_000),
            FaultLengthMaxUs = Pick(random, 200_000, 1_500_000, 6_000_000),
            MaxAppendBytes = maxAppendBytes,

            // Without order, hundreds of small messages to a follower that lost its log are refused one by one, and
            // each late refusal sends them all again: a storm that streams, which keep their order, do not know.
            MaxInFlightBytes = hasStreams ? maxInFlightBytes : Math.Min(maxInFlightBytes, 20 * maxAppendBytes),
            MaxUncommittedBytes = Pick(random, 2_000, 100_000),
            NoticeRate = Pick(random, 0.0, 0.7, 1.0),
            UnluckyLeaderRate = Pick(random, 0, 0, 0.7),
            UnluckyWriteRate = Pick(random, 0, 0.2, 0.7),
            SegmentBytes = Pick(random, 8 * 1024, 16 * 1024, 64 * 1024),
            PurgeIntervalMaxUs = Pick(random, 1_000_000, 3_000_000, 1_000_000_000),
            ProducerExpiryMs = Pick(random, 1_000_000, 1_000_000, 1_000_000, 5_000),
            ClockSkew = Pick(random, 0.0, 0.05, 0.15),
            Groups = Pick(random, 1, 1, 2, 3),
            Keeps = Pick(random, KeptTopic.None, KeptTopic.One, KeptTopic.Old),
            CommitNoticeMs = Pick(random, 0, 5, 50),
        };
    }

    /// <summary>
    /// A topic that is never purged holds the log's beginning: what is gone behind it is taken out of the segments.
    /// </summary>
    internal enum KeptTopic
    {
        None,

        /// <summary>One of those to which is published all the time: a part of each segment is kept.</summary>
        One,

        /// <summary>One that has a record or two: of most segments nothing is kept.</summary>
        Old,
    }

    private static T Pick<T>(Random random, params T[] choices) => choices[random.Next(choices.Length)];
}
