using Broker.Consensus;
using Broker.Domain;
using Xunit;
using static Broker.Tests.Unit.Consensus.DamageScenes;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Replicas whose log or vote is gone, until they take part again. Raft thesis 3.8 assumes none.</summary>
public sealed class LostReplicaTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

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
