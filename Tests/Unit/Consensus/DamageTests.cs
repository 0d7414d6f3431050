using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Replicas whose disk has lost what they acknowledged. Raft thesis 3.8 assumes that there are none; compare
/// "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018).
/// </summary>
public sealed class DamageTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Fenced_replica_votes_only_for_candidates_that_reach_the_fence()
    {
        var cluster = ThreeWithTenEntries(out _);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 4);
        fenced.Restart(0);
        Assert.True(fenced.Node.IsFenced);
        Assert.Equal(new LogPosition(new LogIndex(11), new Term(1)), fenced.DurableFence);

        fenced.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 10));
        Assert.True(fenced.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 2, last: 10));
        Assert.True(fenced.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 3, last: 11));
        Assert.False(fenced.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 3, last: 11));
        Assert.False(fenced.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    [Fact]
    public void Fenced_replica_does_not_campaign_not_even_when_told_to()
    {
        var cluster = ThreeWithTenEntries(out _);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 4);
        fenced.Restart(0);

        fenced.Tick(10_000);
        Assert.Equal(RaftRole.Follower, fenced.Node.Role);
        fenced.Receive(Heartbeat());
        fenced.TakeSent();
        fenced.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.TimeoutNow,
            From = One,
            To = Three,
            Term = new Term(1),
        });

        Assert.Equal((RaftRole.Follower, new Term(1)), (fenced.Node.Role, fenced.Node.Term));
    }

    /// <summary>The leader of before remembers what the replica acknowledged, and must unlearn it.</summary>
    [Fact]
    public void Fenced_replica_is_sent_again_what_it_lost_and_its_fence_falls()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster[3].LoseEnd(keep: 4);
        cluster.Restart(3);

        cluster.Run(300);

        Assert.Equal(new Term(1), leader.Node.Term);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.False(cluster[3].Node.IsFenced);
        Assert.Equal(LogPosition.None, cluster[3].DurableFence);
    }

    /// <summary>A flipped bit in the last write before a kill looks like a write that never returned.</summary>
    [Theory]
    [InlineData(Notice.None)]
    [InlineData(Notice.Doubt)]
    internal void Replica_that_lost_what_it_acknowledged_unknowingly_is_sent_it_again(Notice notice)
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster[3].LoseEnd(keep: 10, notice);
        cluster.Restart(3);

        cluster.Run(300);

        Assert.Equal(new Term(1), leader.Node.Term);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
    }

    [Fact]
    public void Replica_in_doubt_leaves_the_lead_to_those_that_have_what_it_may_have_lost()
    {
        var cluster = ThreeWithTenEntries(out _);
        var doubtful = cluster[3];
        doubtful.LoseEnd(keep: 10, Notice.Doubt);
        doubtful.Restart(0);

        doubtful.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 10));
        Assert.True(doubtful.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        doubtful.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 2, last: 10));
        Assert.True(doubtful.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        doubtful.Tick(4_999);
        Assert.Equal(RaftRole.Follower, doubtful.Node.Role);
        doubtful.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 3, last: 11));
        Assert.False(doubtful.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    /// <summary>Where the power fails everywhere in the middle of a write, nobody has it, and all doubt.</summary>
    [Fact]
    public void Group_does_not_wait_for_ever_for_a_write_that_nobody_has()
    {
        var cluster = ThreeWithTenEntries(out _);
        for (var node = 1; node <= 3; node++)
        {
            cluster[node].LoseEnd(keep: 10, Notice.Doubt);
        }

        for (var node = 1; node <= 3; node++)
        {
            cluster.Restart(node);
        }

        cluster.Run(4_900);
        Assert.DoesNotContain(Enumerable.Range(1, 3), node => cluster[node].Node.Role == RaftRole.Leader);
        cluster.Run(3_000);
        Assert.Single(Enumerable.Range(1, 3), node => cluster[node].Node.Role == RaftRole.Leader);
    }

    [Fact]
    public void Fence_stands_until_the_log_that_reaches_it_is_flushed()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 10);
        cluster.Restart(3);
        fenced.AutoPersist = false;

        cluster.Run(300);
        Assert.Equal(leader.Node.LastIndex, fenced.Node.LastIndex);
        Assert.True(fenced.Node.IsFenced);

        fenced.FinishWrites();
        Assert.False(fenced.Node.IsFenced);
    }

    [Fact]
    public void Fence_falls_when_a_newer_term_shows_that_what_was_lost_never_committed()
    {
        var cluster = new Cluster(3);
        var old = cluster.Elect(1);
        cluster.Isolate(1);
        old.Propose(1);
        old.Propose(2);
        old.LoseEnd(keep: 1);
        cluster.Run(3_000);
        cluster.Restart(1);
        Assert.True(old.Node.IsFenced);
        cluster.Heal();

        cluster.Run(1_000);

        Assert.False(old.Node.IsFenced);
        Assert.Equal(cluster[2].Log, old.DurableLog);
    }

    [Fact]
    public void Lost_replica_does_not_vote_campaign_or_acknowledge()
    {
        var lost = LostReplica(3);
        lost.Tick(10_000);
        Assert.Equal((RaftRole.Follower, true), (lost.Node.Role, lost.Node.IsPassive));
        Assert.Equal(GroupConfiguration.None, lost.Node.Configuration);

        lost.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 3, last: 50));
        Assert.True(lost.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        lost.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 3, last: 50));
        Assert.True(lost.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        lost.Receive(Append(term: 4));
        Assert.True(lost.TakeOnly(RaftMessageKind.AppendEntriesResponse) is { Lost: true, Reject: true });
        lost.Receive(Heartbeat(term: 4));
        Assert.True(lost.TakeOnly(RaftMessageKind.HeartbeatResponse) is { Lost: true, Reject: true });
        Assert.Equal(LogIndex.None, lost.Node.LastIndex);
        Assert.True(lost.DurableHardState.IsLost);
    }

    [Fact]
    public void Lost_voter_is_removed_added_promoted_and_votes_again()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        LoseAndHear(cluster, 3);
        Assert.True(Progress(leader, 3) is { IsLost: true, IsLearner: false, IsCaughtUp: false, MatchIndex.Value: 0 });

        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Remove, 3));
        cluster.Run(200);
        Assert.True(cluster[3].DurableHardState.IsLost);
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 3));
        cluster.Run(400);
        Assert.True(Progress(leader, 3) is { IsLost: false, IsLearner: true, IsCaughtUp: true });
        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.Equal(LogIndex.None, cluster[3].DurableHardState.PassiveUntil);

        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Promote, 3));
        cluster.Run(200);
        cluster[1].Crash();
        cluster.Run(3_000);
        Assert.Single(cluster.Leaders);
    }

    [Fact]
    public void What_a_lost_replica_acknowledged_counts_no_more()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        LoseAndHear(cluster, 3);
        var commit = leader.Node.CommitIndex;
        cluster.Cut(1, 2);
        var index = leader.Propose(99);

        // An acknowledgement from before the loss that comes late.
        leader.Receive(ReplicationTests.Ack(Three, leader, index));

        Assert.Equal(commit, leader.Node.CommitIndex);
        Assert.Equal(LogIndex.None, Progress(leader, 3).MatchIndex);
    }

    [Fact]
    public void Lost_learner_is_made_one_anew_by_adding_it_again()
    {
        var cluster = new Cluster(4, voters: 3);
        var leader = cluster.Elect(1);
        leader.Change(MembershipChangeKind.AddLearner, 4);
        cluster.Run(200);
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.AddLearner, 4));
        LoseAndHear(cluster, 4);
        Assert.True(Progress(leader, 4) is { IsLost: true, IsLearner: true });
        Assert.True(cluster[4].DurableHardState.IsLost);

        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 4));
        cluster.Run(400);

        Assert.Equal("1 2 3 learners 4 at 3", leader.Node.Configuration.ToString());
        Assert.Equal(leader.Log, cluster[4].DurableLog);
        Assert.False(cluster[4].Node.IsPassive);
    }

    /// <summary>A leader that does not know of the loss may name a configuration from before it.</summary>
    [Fact]
    public void Lost_replica_accepts_only_a_learner_mark_that_names_its_loss()
    {
        var lost = LostReplica(3);
        lost.Receive(Heartbeat());
        var number = lost.TakeOnly(RaftMessageKind.HeartbeatResponse).Context;

        lost.Receive(Heartbeat(learnerSince: 7));
        lost.Receive(Heartbeat(learnerSince: 7, context: number - 1));
        Assert.All(lost.TakeSent(), m => Assert.True(m.Lost));

        lost.Receive(Heartbeat(learnerSince: 7, context: number));
        Assert.False(lost.TakeOnly(RaftMessageKind.HeartbeatResponse).Lost);
        Assert.Equal(new HardState(new Term(1), NodeId.None, new LogIndex(7)), lost.DurableHardState);
    }

    [Fact]
    public void Learner_mark_is_not_given_before_its_configuration_has_committed()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        LoseAndHear(cluster, 3);
        leader.Change(MembershipChangeKind.Remove, 3);
        cluster.Pump();
        cluster.Lose = message => message is { EntryCount: > 0 };
        leader.Change(MembershipChangeKind.AddLearner, 3);

        cluster.Run(300);
        Assert.True(cluster[3].DurableHardState.IsLost);

        cluster.Lose = _ => false;
        cluster.Run(300);
        Assert.False(cluster[3].DurableHardState.IsLost);
    }

    [Fact]
    public void Passive_replica_gives_no_vote_until_it_knows_its_configuration_committed()
    {
        var lost = LostReplica(3);
        lost.Receive(Heartbeat());
        var number = lost.TakeOnly(RaftMessageKind.HeartbeatResponse).Context;
        lost.Receive(Heartbeat(learnerSince: 2, context: number));
        lost.Receive(Append(entries: 2));
        lost.TakeSent();
        Assert.True(lost.Node.IsPassive);
        lost.Tick(5_000);
        lost.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 9));
        Assert.True(lost.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);

        lost.Receive(Append(entries: 2, commit: 2));
        lost.TakeSent();

        Assert.False(lost.Node.IsPassive);
        lost.Tick(10_000);
        lost.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 9));
        Assert.False(lost.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
    }

    [Fact]
    public void Replica_that_is_lost_again_must_be_added_again()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        LoseAndHear(cluster, 3);
        leader.Change(MembershipChangeKind.Remove, 3);
        cluster.Pump();
        leader.Change(MembershipChangeKind.AddLearner, 3);
        cluster.Run(400);
        Assert.False(Progress(leader, 3).IsLost);

        LoseAndHear(cluster, 3, seed: 77);

        Assert.True(Progress(leader, 3).IsLost);
        Assert.True(cluster[3].DurableHardState.IsLost);
    }

    [Fact]
    public void Late_report_of_a_loss_that_is_over_changes_nothing()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        RaftMessage? report = null;
        cluster.Lose = message =>
        {
            report = message.Lost ? message : report;
            return false;
        };
        LoseAndHear(cluster, 3);
        leader.Change(MembershipChangeKind.Remove, 3);
        cluster.Pump();
        leader.Change(MembershipChangeKind.AddLearner, 3);
        cluster.Run(400);
        var match = Progress(leader, 3).MatchIndex;

        leader.Receive(report!.Value);

        Assert.True(Progress(leader, 3) is { IsLost: false } progress && progress.MatchIndex == match);
    }

    [Fact]
    public void Lost_replica_behind_the_base_gets_the_snapshot()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        leader.Compact(new LogIndex(8));
        LoseAndHear(cluster, 3);
        leader.Change(MembershipChangeKind.Remove, 3);
        cluster.Pump();
        leader.Change(MembershipChangeKind.AddLearner, 3);
        cluster.Run(600);

        Assert.Equal(1, cluster[3].Installed);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.False(cluster[3].Node.IsPassive);
    }

    private static Cluster ThreeWithTenEntries(out Replica leader)
    {
        var cluster = new Cluster(3);
        leader = cluster.Elect(1);
        for (var value = 1; value <= 10; value++)
        {
            leader.Propose(value);
        }

        cluster.Run(200);
        return cluster;
    }

    private static void LoseAndHear(Cluster cluster, int id, int seed = 0)
    {
        cluster[id].LoseDisk(seed);
        cluster.Restart(id);
        cluster.Run(200);
    }

    private static FollowerProgress Progress(Replica leader, int id) =>
        leader.Node.Followers.Single(f => f.NodeId.Value == id);

    private static Replica LostReplica(int id)
    {
        var replica = new Replica(id, 3);
        replica.LoseDisk();
        replica.Restart(0);
        return replica;
    }

    private static RaftMessage VoteRequest(RaftMessageKind kind, int term, int last) => new()
    {
        Kind = kind,
        From = Two,
        To = Three,
        Term = new Term(term),
        LogIndex = new LogIndex(last),
        LogTerm = new Term(1),
    };

    private static RaftMessage Heartbeat(int term = 1, int learnerSince = 0, long context = 0) => new()
    {
        Kind = RaftMessageKind.Heartbeat,
        From = One,
        To = Three,
        Term = new Term(term),
        LearnerSince = new LogIndex(learnerSince),
        Context = context,
    };

    private static RaftMessage Append(int term = 1, int entries = 1, int commit = 0) => new()
    {
        Kind = RaftMessageKind.AppendEntries,
        From = One,
        To = Three,
        Term = new Term(term),
        CommitIndex = new LogIndex(commit),
        EntryCount = entries,
        EntryTerms = [.. Enumerable.Repeat(new Term(1), entries)],
        Configurations = entries < 2 ? [] : [new GroupConfiguration(new LogIndex(2), [One, Two], [Three])],
    };
}
