using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Nothing is revealed before it is durable, and commits count what is durable: Raft thesis 3.6.2, 3.8, 10.2.1.
/// </summary>
public sealed class DurabilityTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Vote_leaves_only_when_it_is_durable()
    {
        var voter = new Replica(1, 3) { AutoPersist = false };

        voter.Receive(ElectionTests.VoteRequest(Two, term: 5));
        Assert.Empty(voter.TakeSent());

        voter.FinishWrites();
        Assert.False(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        Assert.Equal(new HardState(new Term(5), Two), voter.DurableHardState);
    }

    [Fact]
    public void Refusal_that_tells_a_new_term_leaves_only_when_the_term_is_durable()
    {
        var voter = new Replica(1, 3, hardState: new HardState(new Term(4), NodeId.None), logTerms: [4])
        {
            AutoPersist = false,
        };

        voter.Receive(new RaftMessage { Kind = RaftMessageKind.RequestVote, From = Two, To = One, Term = new Term(5) });
        Assert.Empty(voter.TakeSent());

        voter.FinishWrites();
        Assert.True(voter.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    [Fact]
    public void Candidate_asks_and_counts_itself_only_when_its_own_vote_is_durable()
    {
        var candidate = new Replica(1, 3);
        candidate.Tick(1000);
        var preVote = candidate.TakeSent()[0];
        candidate.AutoPersist = false;

        candidate.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.RequestPreVoteResponse,
            From = Two,
            To = One,
            Term = new Term(1),
            Context = preVote.Context,
        });
        Assert.Equal(RaftRole.Candidate, candidate.Node.Role);
        Assert.Empty(candidate.TakeSent());

        candidate.FinishWrites();
        Assert.All(candidate.TakeSent(), m => Assert.Equal(RaftMessageKind.RequestVote, m.Kind));
        Assert.Equal(new HardState(new Term(1), One), candidate.DurableHardState);
    }

    [Fact]
    public void Held_messages_are_bounded()
    {
        var voter = new Replica(1, 3) { AutoPersist = false };

        for (var i = 0; i < 3 * Outbox.MaxHeldMessages; i++)
        {
            voter.Receive(ElectionTests.VoteRequest(Two, term: 5));
        }

        voter.FinishWrites();
        Assert.Equal(Outbox.MaxHeldMessages, voter.TakeSent().Length);
    }

    [Fact]
    public void Entries_leave_in_parallel_with_the_leaders_own_write()
    {
        var leader = ReplicationTests.LeaderOfThree();
        leader.AutoPersist = false;

        leader.Propose(7);

        Assert.Equal(1, leader.PendingWrites);
        Assert.Equal([Two, Three], leader.TakeSent().Where(m => m.EntryCount == 1).Select(m => m.To));
    }

    [Fact]
    public void Follower_acknowledges_only_what_it_has_flushed()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Append(term: 1, previous: 0, previousTerm: 0, terms: [1]));
        Assert.Equal(new LogIndex(1), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        follower.AutoPersist = false;

        follower.Receive(Append(term: 1, previous: 1, previousTerm: 1, terms: [1, 1]));
        follower.Receive(Append(term: 1, previous: 3, previousTerm: 1, terms: [1]));
        Assert.Empty(follower.TakeSent());

        follower.FinishWrite();
        Assert.Equal(new LogIndex(3), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        follower.FinishWrite();
        Assert.Equal(new LogIndex(4), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
    }

    [Fact]
    public void Late_write_of_replaced_entries_acknowledges_nothing_of_the_new_ones()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Append(term: 1, previous: 0, previousTerm: 0, terms: [1]));
        follower.TakeSent();
        follower.AutoPersist = false;

        // Entries 2..4 of term 1 are on their way to the disk when the leader of term 2 replaces them.
        follower.Receive(Append(term: 1, previous: 1, previousTerm: 1, terms: [1, 1, 1]));
        follower.Receive(Append(term: 2, previous: 1, previousTerm: 1, terms: [2, 2], from: Three));
        follower.FinishWrite();

        Assert.Equal(new LogIndex(1), follower.Node.FlushedIndex);
        Assert.DoesNotContain(follower.TakeSent(), m => m.LogIndex > new LogIndex(1));
        follower.FinishWrite();
        var acknowledgement = follower.TakeSent().Last();
        Assert.Equal((Three, new LogIndex(3)), (acknowledgement.To, acknowledgement.LogIndex));
        Assert.Equal([1, 2, 2], follower.DurableLog.Select(item => (int)item.Term.Value));
    }

    [Fact]
    public void Entries_of_an_older_leader_are_not_acknowledged_to_the_new_one_unverified()
    {
        // Entries 2..4 agree in index only: they are flushed, but the leader of term 2 has vouched for entry 1 alone.
        var follower = new Replica(1, 3, hardState: new HardState(new Term(1), NodeId.None), logTerms: [1, 1, 1, 1]);

        follower.Receive(Append(term: 2, previous: 1, previousTerm: 1, terms: [], commit: 4, wantsAnswer: true));

        Assert.Equal(new LogIndex(1), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        Assert.Equal(new LogIndex(1), follower.Node.CommitIndex);
    }

    [Fact]
    public void Heartbeat_does_not_commit_what_is_not_verified()
    {
        var follower = new Replica(1, 3, hardState: new HardState(new Term(1), NodeId.None), logTerms: [1, 1, 1, 1]);

        follower.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.Heartbeat,
            From = Two,
            To = One,
            Term = new Term(2),
            CommitIndex = new LogIndex(4),
        });

        Assert.Equal(LogIndex.None, follower.Node.CommitIndex);
        Assert.Equal(LogIndex.None, follower.TakeOnly(RaftMessageKind.HeartbeatResponse).LogIndex);
    }

    [Fact]
    public void Commit_index_beyond_the_followers_log_is_clamped()
    {
        var follower = new Replica(1, 3);

        follower.Receive(Append(term: 1, previous: 0, previousTerm: 0, terms: [1, 1], commit: 1000));

        Assert.Equal(new LogIndex(2), follower.Node.CommitIndex);
        Assert.Equal(2, follower.Applied.Count);
    }

    [Fact]
    public void Heartbeat_carries_a_commit_index_clamped_to_what_the_follower_acknowledged()
    {
        var leader = ReplicationTests.LeaderOfThree();
        var index = leader.Propose(7);
        leader.Receive(ReplicationTests.Ack(Two, leader, index));
        Assert.Equal(index, leader.Node.CommitIndex);
        leader.TakeSent();

        leader.Tick(leader.Node.NextDeadlineMs);

        var heartbeats = leader.TakeSent().Where(m => m.Kind == RaftMessageKind.Heartbeat).ToArray();
        Assert.Equal(index, heartbeats.Single(m => m.To == Two).CommitIndex);
        Assert.Equal(new LogIndex(1), heartbeats.Single(m => m.To == Three).CommitIndex);
    }

    [Fact]
    public void Leader_counts_itself_only_when_it_has_flushed()
    {
        var leader = new Cluster(5).Elect(1);
        leader.AutoPersist = false;
        var index = leader.Propose(7);

        leader.Receive(ReplicationTests.Ack(Two, leader, index));
        leader.Receive(ReplicationTests.Ack(Three, leader, index));
        Assert.True(leader.Node.CommitIndex < index);

        leader.FinishWrites();
        Assert.Equal(index, leader.Node.CommitIndex);
    }

    [Fact]
    public void Leader_commits_nothing_that_it_has_not_flushed_itself()
    {
        var leader = ReplicationTests.LeaderOfThree();
        leader.AutoPersist = false;
        var index = leader.Propose(7);

        leader.Receive(ReplicationTests.Ack(Two, leader, index));
        leader.Receive(ReplicationTests.Ack(Three, leader, index));
        Assert.True(leader.Node.CommitIndex < index);

        leader.FinishWrites();
        Assert.Equal(index, leader.Node.CommitIndex);
    }

    [Fact]
    public void Old_acknowledgements_never_take_a_match_back()
    {
        var leader = ReplicationTests.LeaderOfThree();
        var index = leader.Propose(7);
        leader.Receive(ReplicationTests.Ack(Two, leader, index));

        leader.Receive(ReplicationTests.Ack(Two, leader, new LogIndex(1)));

        Assert.Equal(index, leader.Node.Followers[0].MatchIndex);
    }

    /// <summary>
    /// Raft thesis 3.6.2, figure 3.7: an entry of an older term that is on a majority is not committed until an entry
    /// of the leader's own term is; a leader of a newer term may still replace it.
    /// </summary>
    [Fact]
    public void Entry_of_an_older_term_on_a_majority_is_not_committed_by_counting()
    {
        // (c): replica 1 leads term 4; its entry 2 of term 2 is on replicas 1, 2, 3; replica 5 has another one of term
        // 3.
        var leader = new Replica(1, 5, hardState: new HardState(new Term(3), NodeId.None), logTerms: [1, 2]);
        leader.Tick(1000);
        var round = leader.TakeSent()[0].Context;
        Elect(leader, round);
        leader.TakeSent();

        leader.Receive(ReplicationTests.Ack(Two, leader, new LogIndex(2)));
        leader.Receive(ReplicationTests.Ack(Three, leader, new LogIndex(2)));
        Assert.Equal(LogIndex.None, leader.Node.CommitIndex);

        // (e): with its own entry 3 of term 4 on a majority both commit.
        leader.Receive(ReplicationTests.Ack(Two, leader, new LogIndex(3)));
        leader.Receive(ReplicationTests.Ack(Three, leader, new LogIndex(3)));
        Assert.Equal(new LogIndex(3), leader.Node.CommitIndex);
    }

    [Fact]
    public void Figure_3_7_d_replaces_the_older_entry_without_breaking_anything()
    {
        // (d): replica 1 has crashed before its entry of term 4 spread; replica 5 wins with its entry of term 3.
        var state = new HardState(new Term(4), NodeId.None);
        var cluster = new Cluster(
            [new Replica(1, 5, seed: 1, hardState: state, logTerms: [1, 2, 4]),
            new Replica(2, 5, seed: 2, hardState: state, logTerms: [1, 2]),
            new Replica(3, 5, seed: 3, hardState: state, logTerms: [1, 2]),
            new Replica(4, 5, seed: 4, hardState: state, logTerms: [1]),
            new Replica(5, 5, seed: 5, hardState: state, logTerms: [1, 3])]);
        cluster[1].Crash();

        var leader = cluster.Elect(5);
        cluster.Restart(1);
        cluster.Run(1_000);

        Assert.All(cluster.Replicas, r => Assert.Equal(leader.Log, r.Log));
        Assert.Equal(new Term(3), leader.Log[1].Term);
    }

    [Fact]
    public void Crash_that_loses_unflushed_entries_loses_nothing_acknowledged()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        var durable = leader.Propose(7);
        cluster.Pump();
        Assert.Equal(durable, leader.Node.CommitIndex);
        foreach (var replica in cluster.Replicas)
        {
            replica.AutoPersist = false;
        }

        leader.Propose(8);
        cluster.Pump();
        foreach (var replica in cluster.Replicas)
        {
            replica.Crash();
            cluster.Restart(replica.Id.Value);
            replica.AutoPersist = true;
        }

        var next = cluster.Elect();

        Assert.Contains(next.Applied, item => item.Value == 7);
        Assert.DoesNotContain(next.Log, item => item.Value == 8);
    }

    private static void Elect(Replica candidate, long round)
    {
        foreach (var voter in new[] { Two, Three })
        {
            candidate.Receive(new RaftMessage
            {
                Kind = RaftMessageKind.RequestPreVoteResponse,
                From = voter,
                To = One,
                Term = candidate.Node.Term.Next(),
                Context = round,
            });
        }

        foreach (var voter in new[] { Two, Three })
        {
            candidate.Receive(new RaftMessage
            {
                Kind = RaftMessageKind.RequestVoteResponse,
                From = voter,
                To = One,
                Term = candidate.Node.Term,
            });
        }

        Assert.Equal(RaftRole.Leader, candidate.Node.Role);
    }

    private static RaftMessage Append(
        int term, int previous, int previousTerm, int[] terms, int commit = 0, bool wantsAnswer = false,
        NodeId? from = null) => new()
        {
            Kind = RaftMessageKind.AppendEntries,
            From = from ?? Two,
            To = One,
            Term = new Term(term),
            LogIndex = new LogIndex(previous),
            LogTerm = new Term(previousTerm),
            CommitIndex = new LogIndex(commit),
            EntryCount = terms.Length,
            EntryTerms = [.. terms.Select(t => new Term(t))],
            Context = wantsAnswer ? 1 : 0,
        };
}
