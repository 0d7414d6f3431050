using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Pre-vote, protected leaders and check-quorum: Raft thesis 4.2.3, 6.2, 9.6.</summary>
public sealed class PreVoteTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);

    [Fact]
    public void Replica_that_times_out_asks_before_it_raises_its_term()
    {
        var replica = new Replica(1, 3);

        replica.Tick(1000);

        Assert.Equal(RaftRole.PreCandidate, replica.Node.Role);
        Assert.Equal(Term.None, replica.Node.Term);
        var sent = replica.TakeSent();
        Assert.Equal(2, sent.Length);
        Assert.All(sent, m => Assert.Equal((RaftMessageKind.RequestPreVote, new Term(1)), (m.Kind, m.Term)));
    }

    [Fact]
    public void Replica_that_was_cut_off_does_not_disturb_the_leader_when_it_returns()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        var term = leader.Node.Term;
        cluster.Isolate(3);
        cluster.Run(10_000);
        Assert.Equal(term, cluster[3].Node.Term);

        cluster.Heal();
        cluster.Run(2_000);

        Assert.Equal(RaftRole.Leader, leader.Node.Role);
        Assert.All(cluster.Replicas, r => Assert.Equal(term, r.Node.Term));
        Assert.Equal(One, cluster[3].Node.Leader);
    }

    [Fact]
    public void Pre_vote_changes_neither_term_nor_vote()
    {
        var voter = new Replica(1, 3);

        voter.Receive(PreVote(term: 6));

        var answer = voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse);
        Assert.False(answer.Reject);
        Assert.Equal(new Term(6), answer.Term);
        Assert.Equal(default, voter.DurableHardState);
        Assert.Equal((Term.None, NodeId.None), (voter.Node.Term, voter.Node.VotedFor));
    }

    [Fact]
    public void Pre_vote_is_refused_while_the_leader_is_heard_and_granted_after()
    {
        var voter = Follower();

        voter.Tick(499);
        voter.Receive(PreVote(term: 6));
        Assert.True(voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);

        voter.Tick(500);
        voter.TakeSent();
        voter.Receive(PreVote(term: 6));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
    }

    [Fact]
    public void Pre_vote_is_refused_to_a_log_that_lacks_entries()
    {
        var voter = new Replica(1, 3, hardState: new HardState(new Term(5), NodeId.None), logTerms: [5]);

        voter.Receive(PreVote(term: 6, last: 9, lastTerm: 4));

        Assert.True(voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
    }

    /// <summary>
    /// Raft thesis 4.2.3: a vote request within the timeout of hearing from a leader changes nothing.
    /// </summary>
    [Fact]
    public void Vote_request_against_a_live_leader_is_not_heard_unless_it_is_forced()
    {
        var voter = Follower();

        voter.Receive(ElectionTests.VoteRequest(new NodeId(3), term: 9));
        Assert.Empty(voter.TakeSent());
        Assert.Equal(new Term(5), voter.Node.Term);

        voter.Receive(ElectionTests.VoteRequest(new NodeId(3), term: 9, force: true));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        Assert.Equal(new Term(9), voter.Node.Term);
    }

    [Fact]
    public void Old_answers_to_an_earlier_pre_vote_do_not_count()
    {
        var replica = new Replica(1, 3);
        replica.Tick(1000);
        var first = replica.TakeSent()[0];
        replica.Tick(2000);
        replica.TakeSent();

        replica.Receive(Grant(first));

        Assert.Equal(RaftRole.PreCandidate, replica.Node.Role);
    }

    [Fact]
    public void Replica_whose_term_ran_ahead_is_taken_back_in()
    {
        // Its log is behind, so it cannot win; the leader must move to its term.
        var cluster = new Cluster(
            [new Replica(1, 3, seed: 1), new Replica(2, 3, seed: 2),
            new Replica(3, 3, seed: 3, hardState: new HardState(new Term(50), new NodeId(3)))]);
        cluster.Isolate(3);
        cluster.RunUntil(() => cluster.Leaders.Any(), "a leader of two");
        cluster.Leaders.First().Propose(7);
        cluster.Heal();

        var leader = cluster.Elect();

        Assert.True(leader.Node.Term > new Term(50));
        Assert.Contains(cluster[3].Applied, item => item.Value == 7);
    }

    /// <summary>
    /// Raft thesis 6.2: a leader steps down if an election timeout passes without a majority of its cluster.
    /// </summary>
    [Fact]
    public void Leader_steps_down_when_quorum_is_lost()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Isolate(1);

        cluster.RunUntil(() => leader.Node.Role != RaftRole.Leader, "the leader steps down", 1_200);

        Assert.Equal(NodeId.None, leader.Node.Leader);
        Assert.Equal(ProposeResult.NotLeader, leader.Node.TryPropose(1, out _));
    }

    [Fact]
    public void Leader_stays_while_a_majority_answers()
    {
        var cluster = new Cluster(5);
        var leader = cluster.Elect(1);
        cluster[2].Crash();
        cluster[3].Crash();

        cluster.Run(10_000);

        Assert.Equal(RaftRole.Leader, leader.Node.Role);
    }

    [Fact]
    public void Broken_connection_to_the_leader_makes_a_follower_ask_at_once()
    {
        var follower = Follower();

        follower.Node.ReportUnreachable(Two);

        Assert.InRange(follower.Node.NextDeadlineMs, 0, 50);
        follower.Tick(50);
        Assert.Equal(RaftRole.PreCandidate, follower.Node.Role);
    }

    [Fact]
    public void Broken_connection_to_another_follower_changes_nothing()
    {
        var follower = Follower();
        var deadline = follower.Node.NextDeadlineMs;

        follower.Node.ReportUnreachable(new NodeId(3));

        Assert.Equal(deadline, follower.Node.NextDeadlineMs);
    }

    [Fact]
    public void Broken_connection_ends_the_protection_of_the_leader()
    {
        var voter = Follower();
        voter.Node.ReportUnreachable(Two);

        voter.Receive(PreVote(term: 6));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);

        voter.Node.ReportReachable(Two);
        voter.Receive(PreVote(term: 6));
        Assert.True(voter.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
    }

    [Fact]
    public void Leader_that_is_heard_again_after_a_broken_connection_is_followed()
    {
        var follower = Follower();
        follower.Node.ReportUnreachable(Two);
        follower.Tick(50);
        follower.TakeSent();

        follower.Receive(Heartbeat());

        Assert.Equal((RaftRole.Follower, Two), (follower.Node.Role, follower.Node.Leader));
        Assert.True(follower.Node.NextDeadlineMs >= 550);
    }

    [Fact]
    public void Killed_leader_is_replaced_within_a_fraction_of_the_election_timeout()
    {
        for (var seed = 1; seed <= 50; seed++)
        {
            var cluster = new Cluster(3, seed * 100) { StepMs = 1 };
            var old = cluster.Elect();
            old.Crash();
            foreach (var replica in cluster.Replicas.Where(r => r.IsUp))
            {
                replica.Node.ReportUnreachable(old.Id);
            }

            cluster.RunUntil(() => cluster.Leaders.Any(), "a new leader", deadlineMs: 150);
        }
    }

    [Fact]
    public void Connection_that_breaks_alone_does_not_depose_the_leader()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Cut(1, 3);
        cluster[3].Node.ReportUnreachable(One);
        leader.Node.ReportUnreachable(new NodeId(3));

        cluster.Run(5_000);

        Assert.Equal(RaftRole.Leader, leader.Node.Role);
    }

    /// <summary>A follower of node 2 in term 5 that has just heard from it.</summary>
    private static Replica Follower()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Heartbeat());
        follower.TakeSent();
        return follower;
    }

    private static RaftMessage Heartbeat() => new()
    {
        Kind = RaftMessageKind.Heartbeat,
        From = Two,
        To = One,
        Term = new Term(5),
    };

    private static RaftMessage PreVote(int term, int last = 9, int lastTerm = 5) => new()
    {
        Kind = RaftMessageKind.RequestPreVote,
        From = new NodeId(3),
        To = One,
        Term = new Term(term),
        LogIndex = new LogIndex(last),
        LogTerm = new Term(lastTerm),
        Context = 1,
    };

    private static RaftMessage Grant(RaftMessage request) => new()
    {
        Kind = RaftMessageKind.RequestPreVoteResponse,
        From = request.To,
        To = request.From,
        Term = request.Term,
        Context = request.Context,
    };
}
