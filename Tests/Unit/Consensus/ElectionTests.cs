using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Elections: Raft thesis 3.3, 3.4, 3.6.1.</summary>
public sealed class ElectionTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Three_replicas_elect_one_leader_that_all_follow()
    {
        var cluster = new Cluster(3);

        var leader = cluster.Elect();

        Assert.All(cluster.Replicas, r => Assert.Equal(leader.Node.Term, r.Node.Term));
        Assert.Equal(RaftRole.Leader, leader.Node.Role);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public void Groups_of_other_sizes_elect_a_leader_and_commit(int size)
    {
        var cluster = new Cluster(size);
        var leader = cluster.Elect();

        var index = leader.Propose(7);
        cluster.Run(500);

        Assert.All(cluster.Replicas, r => Assert.True(r.Node.CommitIndex >= index));
    }

    /// <summary>Raft thesis 3.4: a follower that hears from a leader stays one.</summary>
    [Fact]
    public void Follower_that_hears_heartbeats_starts_no_election()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect();
        var term = leader.Node.Term;

        cluster.Run(20_000);

        Assert.Equal(RaftRole.Leader, leader.Node.Role);
        Assert.All(cluster.Replicas, r => Assert.Equal(term, r.Node.Term));
    }

    [Fact]
    public void Another_replica_takes_over_when_the_leader_is_gone()
    {
        var cluster = new Cluster(3);
        var old = cluster.Elect();
        var index = old.Propose(7);
        cluster.Pump();
        old.Crash();

        var leader = cluster.Elect();

        Assert.NotEqual(old.Id, leader.Id);
        Assert.Contains(leader.Log, item => item.Value == 7);
        Assert.True(leader.Node.CommitIndex > index);
    }

    /// <summary>
    /// Raft thesis 3.4: each server votes for at most one candidate in a given term, first come first served.
    /// </summary>
    [Fact]
    public void Replica_gives_one_vote_a_term()
    {
        var voter = new Replica(1, 3);

        voter.Receive(VoteRequest(Two, term: 5));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        voter.Receive(VoteRequest(Three, term: 5));
        Assert.True(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        voter.Receive(VoteRequest(Two, term: 5));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    /// <summary>Raft thesis 3.8: the vote survives a restart.</summary>
    [Fact]
    public void Replica_remembers_its_vote_after_a_restart()
    {
        var voter = new Replica(1, 3);
        voter.Receive(VoteRequest(Two, term: 5));
        voter.Crash();
        voter.Restart(0);

        voter.Receive(VoteRequest(Three, term: 5));

        Assert.True(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        Assert.Equal(Two, voter.Node.VotedFor);
    }

    /// <summary>Raft thesis 3.6.1: the voter denies its vote if its own log is more up-to-date.</summary>
    [Theory]
    [InlineData(2, 3, false)]
    [InlineData(3, 3, false)]
    [InlineData(1, 4, false)]
    [InlineData(1, 3, true)]
    [InlineData(3, 2, true)]
    [InlineData(9, 1, true)]
    public void Voter_refuses_a_candidate_whose_log_is_older(int lastIndex, int lastTerm, bool refused)
    {
        // The voter's last entry has index 2 and term 3. Terms are compared first, then lengths.
        var voter = new Replica(1, 3, hardState: new HardState(new Term(4), NodeId.None), logTerms: [1, 3]);

        voter.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.RequestVote,
            From = Two,
            To = One,
            Term = new Term(5),
            LogIndex = new LogIndex(lastIndex),
            LogTerm = new Term(lastTerm),
        });

        Assert.Equal(refused, voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        Assert.Equal(refused ? NodeId.None : Two, voter.Node.VotedFor);
    }

    /// <summary>Raft thesis 3.3: a server that learns of a newer term becomes a follower at once.</summary>
    [Fact]
    public void Leader_steps_down_when_it_learns_of_a_newer_term()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);

        leader.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.HeartbeatResponse,
            From = Two,
            To = One,
            Term = new Term(9),
            Reject = true,
        });

        Assert.Equal(RaftRole.Follower, leader.Node.Role);
        Assert.Equal(new Term(9), leader.Node.Term);
        Assert.Equal(new Term(9), leader.DurableHardState.Term);
    }

    /// <summary>Raft thesis 3.3: a request with a stale term is rejected.</summary>
    [Theory]
    [InlineData(RaftMessageKind.AppendEntries, RaftMessageKind.HeartbeatResponse)]
    [InlineData(RaftMessageKind.Heartbeat, RaftMessageKind.HeartbeatResponse)]
    [InlineData(RaftMessageKind.InstallSnapshot, RaftMessageKind.HeartbeatResponse)]
    [InlineData(RaftMessageKind.RequestVote, RaftMessageKind.RequestVoteResponse)]
    [InlineData(RaftMessageKind.RequestPreVote, RaftMessageKind.RequestPreVoteResponse)]
    public void Sender_of_an_older_term_is_told_the_newer_one(RaftMessageKind kind, RaftMessageKind answer)
    {
        var replica = new Replica(1, 3, hardState: new HardState(new Term(8), NodeId.None));

        replica.Receive(new RaftMessage { Kind = kind, From = Two, To = One, Term = new Term(7) });

        var sent = replica.TakeOnly(answer);
        Assert.True(sent.Reject);
        Assert.Equal(new Term(8), sent.Term);
        Assert.Equal(NodeId.None, replica.Node.Leader);
    }

    /// <summary>Raft thesis 3.4: timeouts are random, so that split votes are rare and soon resolved.</summary>
    [Fact]
    public void Election_timeouts_differ_and_stay_within_their_range()
    {
        var deadlines = Enumerable.Range(1, 100).Select(seed => new Replica(1, 3, seed).Node.NextDeadlineMs).ToArray();

        Assert.All(deadlines, deadline => Assert.InRange(deadline, 500, 1000));
        Assert.True(deadlines.Distinct().Count() > 50);
    }

    [Fact]
    public void Candidates_that_split_the_votes_try_again_and_one_wins()
    {
        // Two of three are up and campaign in the same instant.
        var cluster = new Cluster(3);
        cluster[3].Crash();
        MakeCandidate(cluster[1], 2);
        MakeCandidate(cluster[2], 1);
        Assert.All(cluster.Replicas.Take(2), r => Assert.Equal(RaftRole.Candidate, r.Node.Role));

        cluster.Pump();
        Assert.Empty(cluster.Leaders);

        cluster.RunUntil(() => cluster.Leaders.Any(), "a leader after the split vote", 3_000);
    }

    [Fact]
    public void Preferred_leader_wins_the_first_election()
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            var cluster = new Cluster(3, seed * 100, options => options with { PreferredLeader = Two });

            Assert.Equal(Two, cluster.Elect().Id);
        }
    }

    [Fact]
    public void Preference_has_no_effect_once_the_group_has_had_a_term()
    {
        var replica = new Replica(
            2, 3, hardState: new HardState(new Term(1), NodeId.None), configure: o => o with { PreferredLeader = Two });

        Assert.InRange(replica.Node.NextDeadlineMs, 500, 1000);
    }

    [Fact]
    public void Single_voter_leads_without_waiting_and_commits_on_its_own_flush()
    {
        var replica = new Replica(1, 1);
        replica.Tick(0);
        Assert.Equal(RaftRole.Leader, replica.Node.Role);
        replica.AutoPersist = false;

        var index = replica.Propose(7);
        Assert.True(replica.Node.CommitIndex < index);
        replica.FinishWrites();

        Assert.Equal(index, replica.Node.CommitIndex);
    }

    [Fact]
    public void Messages_for_others_and_of_nobody_are_dropped()
    {
        var replica = new Replica(1, 3);

        replica.Receive(VoteRequest(NodeId.None, term: 5));
        replica.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.RequestVote,
            From = Two,
            To = Three,
            Term = new Term(5),
        });

        Assert.Empty(replica.TakeSent());
        Assert.Equal(Term.None, replica.Node.Term);
    }

    [Fact]
    public void Options_that_cannot_work_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new Replica(0, 3));
        Assert.Throws<ArgumentException>(() => new Replica(1, 3, configure: o => o with { Voters = [One, One] }));
        Assert.Throws<ArgumentException>(
            () => new Replica(1, 3, configure: o => o with { ElectionTimeoutMin = TimeSpan.FromMilliseconds(150) }));
        Assert.Throws<ArgumentException>(
            () => new Replica(1, 3, configure: o => o with { ElectionTimeoutMax = o.ElectionTimeoutMin }));
    }

    internal static RaftMessage VoteRequest(NodeId from, int term, bool force = false) => new()
    {
        Kind = RaftMessageKind.RequestVote,
        From = from,
        To = One,
        Term = new Term(term),
        Force = force,
        LogIndex = new LogIndex(100),
        LogTerm = new Term(term - 1),
    };

    /// <summary>Lets a replica time out, and grants it the pre-vote of one peer.</summary>
    private static void MakeCandidate(Replica replica, int peer)
    {
        replica.Tick(1000);
        var request = replica.TakeSent().First(m => m.To.Value == peer);
        replica.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.RequestPreVoteResponse,
            From = request.To,
            To = replica.Id,
            Term = request.Term,
            Context = request.Context,
        });
    }
}
