using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <content>Ongaro's thesis, where it says more than the paper.</content>
public sealed partial class PaperTests
{
    /// <summary>
    /// 6.4: "Raft handles this by having each leader commit a blank no-op entry into the log at the start of its
    /// term." By 3.6.2 that commits what earlier leaders left.
    /// </summary>
    [Fact]
    public void Leader_begins_its_term_with_an_entry_of_its_own_which_commits_all_before_it()
    {
        var leader = Leader();
        Assert.Equal((new LogIndex(5), new Term(4)), (leader.Node.LastIndex, leader.Node.TermAt(new LogIndex(5))));
        Assert.Equal(LogIndex.None, leader.Node.CommitIndex);

        leader.Receive(ReplicationTests.Ack(Two, leader, new LogIndex(5)));

        Assert.Equal(new LogIndex(5), leader.Node.CommitIndex);
    }

    /// <summary>
    /// 3.5: "Whenever AppendEntries returns successfully, the leader knows that the follower's log is identical to its
    /// own log up through the new entries", and no further.
    /// </summary>
    [Fact]
    public void Acknowledgement_names_what_was_compared_not_what_is_there()
    {
        var follower = Waiting();

        follower.Receive(Append(term: 4, previous: 1, previousTerm: 1, terms: [1]));

        var answer = follower.TakeOnly(RaftMessageKind.AppendEntriesResponse);
        Assert.Equal((new LogIndex(2), new LogIndex(2)), (answer.LogIndex, answer.RejectHint));
    }

    /// <summary>
    /// 3.8: "Each server persists its current term and vote; this is necessary to prevent the server from voting twice
    /// in the same term or replacing log entries from a newer leader with those from a deposed leader."
    /// </summary>
    [Fact]
    public void Restarted_server_refuses_the_leader_of_a_term_that_it_has_left()
    {
        var replica = Waiting();
        replica.Receive(Append(term: 9, previous: 4, previousTerm: 3, terms: [9]));
        replica.Crash();
        replica.Restart(0);

        replica.Receive(Append(term: 8, previous: 4, previousTerm: 3, terms: [8, 8]));

        Assert.Equal([1, 1, 2, 3, 9], TermsOf(replica.DurableLog));
        Assert.Equal(new Term(9), replica.TakeOnly(RaftMessageKind.HeartbeatResponse).Term);
    }

    /// <summary>
    /// 3.8: the commit index "can safely be reinitialized to zero on a restart. Even if every server restarts at the
    /// same time, the commit index will only temporarily lag behind its true value."
    /// </summary>
    [Fact]
    public void Commit_index_is_learnt_again_after_all_servers_restart()
    {
        var cluster = new Cluster(3);
        var index = cluster.Elect(1).Propose(7);
        cluster.Run(200);
        foreach (var replica in cluster.Replicas)
        {
            replica.Crash();
            cluster.Restart(replica.Id.Value);
            Assert.Equal(LogIndex.None, replica.Node.CommitIndex);
        }

        cluster.Elect();
        cluster.Run(200);

        Assert.All(cluster.Replicas, r => Assert.True(r.Node.CommitIndex > index));
    }

    /// <summary>
    /// 4.2.3: "if a server receives a RequestVote request within the minimum election timeout of hearing from a current
    /// leader, it does not update its term or grant its vote"; after that time it does both.
    /// </summary>
    [Fact]
    public void Vote_request_is_heard_again_when_the_leader_has_been_silent_for_the_minimum_timeout()
    {
        var voter = Waiting();
        voter.Receive(Append(term: 4, previous: 4, previousTerm: 3, terms: []));
        voter.TakeSent();

        voter.Tick(499);
        voter.Receive(Ask(RaftMessageKind.RequestVote, Three, term: 5, last: 9, lastTerm: 4));
        Assert.Empty(voter.TakeSent());
        Assert.Equal(new Term(4), voter.Node.Term);

        voter.Tick(500);
        voter.TakeSent();
        voter.Receive(Ask(RaftMessageKind.RequestVote, Three, term: 5, last: 9, lastTerm: 4));
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    /// <summary>
    /// 9.6: "a candidate only increments its term number if it first learns from a majority of the cluster that they
    /// would be willing to grant the candidate their votes".
    /// </summary>
    [Fact]
    public void Pre_votes_of_less_than_a_majority_raise_no_term()
    {
        var five = new Replica(1, 5);
        five.Tick(five.Node.NextDeadlineMs);
        var round = Round(five);

        five.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Two, term: 1, context: round));
        five.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Two, term: 1, context: round));
        Assert.Equal((RaftRole.PreCandidate, Term.None), (five.Node.Role, five.Node.Term));

        five.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Three, term: 1, context: round));
        Assert.Equal((RaftRole.Candidate, new Term(1)), (five.Node.Role, five.Node.Term));
    }

    /// <summary>
    /// 10.2.1: an entry that a majority of followers has written is committed even before its leader has written it.
    /// This leader waits for its own disk before it says so; what the majority has is safe nevertheless.
    /// </summary>
    [Fact]
    public void Entry_on_a_majority_survives_the_leader_that_never_wrote_it()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        leader.AutoPersist = false;
        leader.Propose(7);
        cluster.Pump();
        leader.Crash();

        var next = cluster.Elect();
        cluster.Restart(1);
        leader.AutoPersist = true;
        cluster.Run(500);

        Assert.Contains(next.Applied, static item => item.Value == 7);
        Assert.Equal(next.Log, leader.Log);
    }

    /// <summary>
    /// 10.2.2: a leader that pipelines moves nextIndex on with each request that it sends, without waiting for the
    /// answer; when one is refused it moves nextIndex back and sends again.
    /// </summary>
    [Fact]
    public void Pipelined_entries_go_out_once_and_again_from_the_hole_after_a_refusal()
    {
        var leader = ReplicationTests.LeaderOfThree();
        leader.Propose(7);
        leader.Propose(8);
        var sent = leader.TakeSent().Where(static m => m.To == Two);
        Assert.Equal([1, 2], sent.Select(static m => (int)m.LogIndex.Value));
        Assert.Equal(new LogIndex(4), leader.Node.Followers[0].NextIndex);

        leader.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.AppendEntriesResponse,
            From = Two,
            To = One,
            Term = leader.Node.Term,
            Reject = true,
            LogIndex = new LogIndex(2),
            RejectHint = new LogIndex(1),
            LogTerm = new Term(1),
        });

        var again = leader.TakeOnly(RaftMessageKind.AppendEntries);
        Assert.Equal((new LogIndex(1), 2), (again.LogIndex, again.EntryCount));
    }
}
