using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Learners, and membership changes, one at a time: Raft thesis 4.</summary>
public sealed class MembershipTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Four = new(4);

    /// <summary>Raft thesis 4.2.1: a server without a vote receives the log and is not yet counted.</summary>
    [Fact]
    public void Learner_receives_the_log_and_does_not_count()
    {
        var cluster = WithLearner(out var leader);
        Assert.Equal(leader.Log, cluster[4].DurableLog);
        Assert.Equal(leader.Node.CommitIndex, cluster[4].Node.CommitIndex);

        cluster.Cut(1, 2);
        cluster.Cut(1, 3);
        var index = leader.Propose(7);
        cluster.Run(50);

        Assert.Equal(index, cluster[4].Node.FlushedIndex);
        Assert.True(leader.Node.CommitIndex < index);
    }

    [Fact]
    public void Learner_does_not_campaign_and_is_not_asked_to_lead()
    {
        var cluster = WithLearner(out var leader);
        Assert.False(leader.Node.TryTransferLeadership(Four));
        cluster[1].Crash();
        cluster[2].Crash();
        cluster[3].Crash();

        cluster.Run(5_000);

        Assert.Equal((RaftRole.Follower, new Term(1)), (cluster[4].Node.Role, cluster[4].Node.Term));
        Assert.Equal(NodeId.None, cluster[4].Node.Leader);
    }

    /// <summary>Raft thesis 4.2.1: it becomes a voter when it has caught up.</summary>
    [Fact]
    public void Learner_is_promoted_only_when_it_has_caught_up()
    {
        var cluster = new Cluster(4, voters: 3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind == RaftMessageKind.AppendEntries && message.To == Four;
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 4));
        cluster.Run(300);
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Promote, 4));
        Assert.False(leader.Node.Followers.Single(f => f.NodeId == Four).IsCaughtUp);

        cluster.Lose = _ => false;
        cluster.Run(300);

        var progress = leader.Node.Followers.Single(f => f.NodeId == Four);
        Assert.True(progress is { IsCaughtUp: true, IsLearner: true });
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Promote, 4));
        cluster.Run(300);
        Assert.All(cluster.Replicas, r => Assert.Equal("1 2 3 4 at 3", r.Node.Configuration.ToString()));
    }

    /// <summary>Raft thesis 4.1: only one change at a time.</summary>
    [Fact]
    public void Second_change_is_refused_until_the_first_has_committed()
    {
        var cluster = new Cluster(5, voters: 3);
        var leader = cluster.Elect(1);
        cluster.Cut(1, 2);
        cluster.Cut(1, 3);
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 4));
        Assert.Equal(ProposeResult.ChangeInProgress, leader.Change(MembershipChangeKind.AddLearner, 5));

        cluster.Heal();
        cluster.Run(300);

        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 5));
    }

    /// <summary>Ongaro, raft-dev of 10 July 2015: not before an entry of the leader's term has committed.</summary>
    [Fact]
    public void Change_is_refused_before_an_entry_of_the_leaders_term_has_committed()
    {
        var cluster = new Cluster(4, voters: 3) { Lose = message => message.EntryCount > 0 };
        var leader = cluster.Elect(1);
        Assert.Equal(ProposeResult.NotReady, leader.Change(MembershipChangeKind.AddLearner, 4));

        cluster.Lose = _ => false;
        cluster.Run(300);

        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 4));
    }

    [Fact]
    public void Changes_that_make_no_sense_leave_no_trace()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        var last = leader.Node.LastIndex;

        Assert.Equal(ProposeResult.NotLeader, cluster[2].Change(MembershipChangeKind.Remove, 3));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.AddLearner, 0));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.AddLearner, 2));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.AddLearner, 1));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Promote, 2));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Remove, 9));
        Assert.Equal(last, leader.Node.LastIndex);
        var alone = new Cluster(1).Elect();
        Assert.Equal(ProposeResult.InvalidChange, alone.Change(MembershipChangeKind.Remove, 1));
        Assert.True(leader.Node.TryTransferLeadership(Two));
        Assert.Equal(ProposeResult.TransferringLeadership, leader.Change(MembershipChangeKind.Remove, 3));
    }

    [Fact]
    public void Voter_is_not_removed_when_too_few_of_the_others_answer()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster[3].Crash();
        cluster.Run(600);

        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Remove, 2));
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Remove, 1));
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Remove, 3));
    }

    [Fact]
    public void Group_holds_no_more_members_than_its_limit()
    {
        var cluster = new Cluster(1);
        var leader = cluster.Elect();
        for (var node = 2; node <= GroupConfiguration.MaxMembers; node++)
        {
            Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, node));
            leader.Sent.Clear();
        }

        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.AddLearner, 99));
    }

    [Fact]
    public void Single_voter_grows_to_three_and_shrinks_again()
    {
        var cluster = new Cluster(3, voters: 1);
        var leader = cluster.Elect(1);
        foreach (var node in new[] { 2, 3 })
        {
            Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, node));
            cluster.Run(300);
            Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Promote, node));
            cluster.Run(300);
        }

        foreach (var node in new[] { 2, 3 })
        {
            Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.Remove, node));
            cluster.Run(300);
        }

        cluster[2].Crash();
        cluster[3].Crash();
        var index = leader.Propose(7);
        cluster.Run(2_000);
        Assert.Equal((RaftRole.Leader, index), (leader.Node.Role, leader.Node.CommitIndex));
    }

    /// <summary>Raft thesis 4.2.2: it manages the group without counting itself, until the entry commits.</summary>
    [Fact]
    public void Removed_leader_does_not_count_itself()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Isolate(3);
        leader.Change(MembershipChangeKind.Remove, 1);
        cluster.Run(50);

        // It and one of the two voters have the entry; both voters must.
        Assert.Equal(leader.Node.LastIndex, cluster[2].Node.FlushedIndex);
        Assert.True(leader.Node.CommitIndex < leader.Node.LastIndex);
        Assert.Equal(RaftRole.Leader, leader.Node.Role);
    }

    /// <summary>Raft thesis 4.2.2: it steps down once the entry has committed.</summary>
    [Fact]
    public void Removed_leader_steps_down_and_another_leads_at_once()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        var before = cluster.NowMs;

        leader.Change(MembershipChangeKind.Remove, 1);
        cluster.Pump();

        Assert.Equal(RaftRole.Follower, leader.Node.Role);
        Assert.Single(cluster.Leaders);
        Assert.Equal(before, cluster.NowMs);
        cluster.Run(5_000);
        Assert.Equal((RaftRole.Follower, new Term(1)), (leader.Node.Role, leader.Node.Term));
        Assert.Equal(new Term(2), Assert.Single(cluster.Leaders).Node.Term);
    }

    /// <summary>Raft thesis 4.2.3: a removed server that does not know it asks in vain.</summary>
    [Fact]
    public void Removed_replica_that_was_away_does_not_disturb()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Isolate(3);
        leader.Change(MembershipChangeKind.Remove, 3);
        cluster.Run(2_000);
        cluster.Heal();

        cluster.Run(5_000);

        Assert.True(cluster[3].Node.Configuration.IsVoter(new NodeId(3)));
        Assert.Equal((RaftRole.Leader, new Term(1)), (leader.Node.Role, leader.Node.Term));
    }

    /// <summary>Raft thesis 4.1: votes are given to candidates that are not in the voter's configuration.</summary>
    [Fact]
    public void Vote_is_given_to_a_candidate_that_the_voter_does_not_know()
    {
        var voter = new Replica(1, 3);

        voter.Receive(ElectionTests.VoteRequest(new NodeId(9), term: 5));

        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    [Fact]
    public void Vote_of_a_replica_that_is_no_voter_does_not_count()
    {
        var candidate = new Replica(1, 3);
        candidate.Tick(1_000);
        var round = candidate.TakeSent()[0].Context;

        foreach (var stranger in new[] { 8, 9 })
        {
            candidate.Receive(new RaftMessage
            {
                Kind = RaftMessageKind.RequestPreVoteResponse,
                From = new NodeId(stranger),
                To = One,
                Term = new Term(1),
                Context = round,
            });
        }

        Assert.Equal(RaftRole.PreCandidate, candidate.Node.Role);
    }

    /// <summary>Check-quorum counts voters: a learner that answers does not keep a leader in office.</summary>
    [Fact]
    public void Leader_that_hears_only_learners_steps_down()
    {
        var cluster = WithLearner(out var leader);
        cluster.Cut(1, 2);
        cluster.Cut(1, 3);

        cluster.Run(1_500);

        Assert.NotEqual(RaftRole.Leader, leader.Node.Role);
    }

    internal static Cluster WithLearner(out Replica leader)
    {
        var cluster = new Cluster(4, voters: 3);
        leader = cluster.Elect(1);
        Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, 4));
        cluster.Run(200);
        return cluster;
    }
}
