using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <content>Raft paper, figure 2.</content>
public sealed partial class PaperTests
{
    /// <summary>
    /// All servers: "If commitIndex &gt; lastApplied: increment lastApplied, apply log[lastApplied] to state machine."
    /// </summary>
    [Fact]
    public void Every_committed_entry_is_applied_once_and_in_order()
    {
        var replica = Waiting();

        replica.Receive(Append(term: 3, previous: 4, previousTerm: 3, terms: [], commit: 2));
        Assert.Equal([1, 1], TermsOf(replica.Applied));
        replica.Receive(Append(term: 3, previous: 4, previousTerm: 3, terms: [], commit: 4));
        replica.Receive(Append(term: 3, previous: 4, previousTerm: 3, terms: [], commit: 4));

        Assert.Equal(replica.Log, replica.Applied);
    }

    /// <summary>
    /// All servers: "If RPC request or response contains term T &gt; currentTerm: set currentTerm = T, convert to
    /// follower." Pre-votes only ask (thesis 9.6): their request changes nothing, their refusal tells a term.
    /// </summary>
    [Theory]
    [InlineData(RaftMessageKind.AppendEntries)]
    [InlineData(RaftMessageKind.AppendEntriesResponse)]
    [InlineData(RaftMessageKind.RequestVote)]
    [InlineData(RaftMessageKind.RequestVoteResponse)]
    [InlineData(RaftMessageKind.RequestPreVoteResponse)]
    [InlineData(RaftMessageKind.Heartbeat)]
    [InlineData(RaftMessageKind.HeartbeatResponse)]
    public void Newer_term_in_any_message_makes_a_candidate_a_follower_of_that_term(RaftMessageKind kind)
    {
        var candidate = Candidate();

        candidate.Receive(Answer(kind, Three, term: 9, reject: true));

        Assert.Equal(new Term(9), candidate.Node.Term);
        Assert.Equal(new Term(9), candidate.DurableHardState.Term);
        Assert.Equal(RaftRole.Follower, candidate.Node.Role);
    }

    /// <summary>
    /// The same sentence for a leader, which a mere vote request of a newer term does not depose (4.2.3).
    /// </summary>
    [Theory]
    [InlineData(RaftMessageKind.AppendEntries, true)]
    [InlineData(RaftMessageKind.AppendEntriesResponse, true)]
    [InlineData(RaftMessageKind.RequestVoteResponse, true)]
    [InlineData(RaftMessageKind.Heartbeat, true)]
    [InlineData(RaftMessageKind.RequestVote, false)]
    [InlineData(RaftMessageKind.RequestPreVote, false)]
    public void Newer_term_makes_a_leader_a_follower_unless_somebody_only_asks(RaftMessageKind kind, bool deposed)
    {
        var leader = Leader();

        leader.Receive(Answer(kind, Three, term: 9, reject: kind == RaftMessageKind.AppendEntriesResponse));

        Assert.Equal(deposed ? RaftRole.Follower : RaftRole.Leader, leader.Node.Role);
        Assert.Equal(new Term(deposed ? 9 : 4), leader.Node.Term);
    }

    /// <summary>Followers: "Respond to RPCs from candidates and leaders."</summary>
    [Theory]
    [InlineData(RaftMessageKind.AppendEntries, RaftMessageKind.AppendEntriesResponse)]
    [InlineData(RaftMessageKind.Heartbeat, RaftMessageKind.HeartbeatResponse)]
    [InlineData(RaftMessageKind.RequestVote, RaftMessageKind.RequestVoteResponse)]
    [InlineData(RaftMessageKind.RequestPreVote, RaftMessageKind.RequestPreVoteResponse)]
    public void Follower_answers_candidates_and_leaders(RaftMessageKind request, RaftMessageKind answer)
    {
        var follower = Waiting();

        follower.Receive(Ask(request, Two, term: 4, last: 9, lastTerm: 3));

        Assert.Equal(Two, follower.TakeOnly(answer).To);
    }

    /// <summary>
    /// Followers: "If election timeout elapses without receiving AppendEntries RPC from current leader [...]: convert
    /// to candidate." Here to pre-candidate first (thesis 9.6).
    /// </summary>
    [Theory]
    [InlineData(RaftMessageKind.AppendEntries)]
    [InlineData(RaftMessageKind.Heartbeat)]
    public void Message_of_the_leader_puts_the_election_off(RaftMessageKind kind)
    {
        var follower = Waiting();
        var deadline = follower.Node.NextDeadlineMs;
        follower.Tick(deadline - 1);

        follower.Receive(Ask(kind, Two, term: 4, last: 4, lastTerm: 3));
        follower.Tick(deadline + 400);
        Assert.Equal(RaftRole.Follower, follower.Node.Role);

        follower.Tick(deadline + 1_000);
        Assert.Equal(RaftRole.PreCandidate, follower.Node.Role);
    }

    /// <summary>
    /// Followers: "[...] or granting vote to candidate". Refusing one, or granting a pre-vote, does not put it off.
    /// </summary>
    [Theory]
    [InlineData(RaftMessageKind.RequestVote, 4, true)]
    [InlineData(RaftMessageKind.RequestVote, 1, false)]
    [InlineData(RaftMessageKind.RequestPreVote, 4, false)]
    public void Granted_vote_puts_the_election_off_and_nothing_less(RaftMessageKind kind, int last, bool putOff)
    {
        var follower = Waiting();
        var deadline = follower.Node.NextDeadlineMs;
        follower.Tick(deadline - 1);

        follower.Receive(Ask(kind, Two, term: 4, last, lastTerm: 3));
        follower.Tick(deadline);

        Assert.Equal(putOff ? RaftRole.Follower : RaftRole.PreCandidate, follower.Node.Role);
    }

    /// <summary>
    /// Candidates: "On conversion to candidate, start election: increment currentTerm, vote for self, reset election
    /// timer, send RequestVote RPCs to all other servers."
    /// </summary>
    [Fact]
    public void Candidate_raises_its_term_votes_for_itself_and_asks_all_others()
    {
        var candidate = Candidate();
        var sent = candidate.TakeSent();

        Assert.Equal(new HardState(new Term(4), One), candidate.DurableHardState);
        Assert.True(candidate.Node.NextDeadlineMs >= 1_000);
        Assert.Equal([Two, Three], sent.Select(static m => m.To));
        Assert.All(sent, static m => Assert.Equal(
            (RaftMessageKind.RequestVote, new Term(4), new LogIndex(4), new Term(3)),
            (m.Kind, m.Term, m.LogIndex, m.LogTerm)));
    }

    /// <summary>Candidates: "If votes received from majority of servers: become leader."</summary>
    [Fact]
    public void Candidate_leads_with_the_votes_of_a_majority_and_not_before()
    {
        var five = new Replica(1, 5);
        five.Tick(five.Node.NextDeadlineMs);
        var round = Round(five);
        five.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Two, term: 1, context: round));
        five.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Three, term: 1, context: round));

        five.Receive(Answer(RaftMessageKind.RequestVoteResponse, Two, term: 1));
        five.Receive(Answer(RaftMessageKind.RequestVoteResponse, Two, term: 1));
        Assert.Equal(RaftRole.Candidate, five.Node.Role);
        five.Receive(Answer(RaftMessageKind.RequestVoteResponse, Three, term: 1));
        Assert.Equal(RaftRole.Leader, five.Node.Role);
    }

    /// <summary>Candidates: "If AppendEntries RPC received from new leader: convert to follower."</summary>
    [Fact]
    public void Candidate_follows_the_leader_that_was_elected_in_its_term()
    {
        var candidate = Candidate();

        candidate.Receive(Append(term: 4, previous: 4, previousTerm: 3, terms: [4]));

        Assert.Equal((RaftRole.Follower, Two, new Term(4)),
            (candidate.Node.Role, candidate.Node.Leader, candidate.Node.Term));
        Assert.Equal(One, candidate.Node.VotedFor);
    }

    /// <summary>
    /// Candidates: "If election timeout elapses: start new election." With a pre-vote before it (thesis 9.6).
    /// </summary>
    [Fact]
    public void Candidate_without_answers_asks_again_in_a_newer_term()
    {
        var candidate = Candidate();
        candidate.TakeSent();

        candidate.Tick(candidate.Node.NextDeadlineMs);
        candidate.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Two, term: 5, context: Round(candidate)));

        Assert.Equal((RaftRole.Candidate, new Term(5)), (candidate.Node.Role, candidate.Node.Term));
    }

    /// <summary>
    /// Leaders: "Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server [...]". They carry the
    /// no-op of 3.6.2, so they need no heartbeat beside them.
    /// </summary>
    [Fact]
    public void New_leader_sends_to_every_other_server_at_once()
    {
        var sent = Leader().TakeSent().Where(static m => m.Kind == RaftMessageKind.AppendEntries).ToArray();

        Assert.Equal([Two, Three], sent.Select(static m => m.To));
        Assert.All(sent, static m => Assert.Equal((new LogIndex(4), 1), (m.LogIndex, m.EntryCount)));
    }

    /// <summary>Leaders: "[...] repeat during idle periods to prevent election timeouts."</summary>
    [Fact]
    public void Idle_leader_repeats_its_heartbeats()
    {
        var leader = Leader();
        leader.TakeSent();
        for (var beat = 0; beat < 3; beat++)
        {
            leader.Tick(leader.Node.NextDeadlineMs);

            var sent = leader.TakeSent();
            Assert.Equal([Two, Three], sent.Select(static m => m.To));
            Assert.All(sent, static m => Assert.Equal(RaftMessageKind.Heartbeat, m.Kind));
        }
    }

    /// <summary>
    /// Leaders: "If command received from client: append entry to local log, respond after entry applied to state
    /// machine."
    /// </summary>
    [Fact]
    public void Proposal_is_in_the_leaders_log_at_once_and_applied_when_committed()
    {
        var leader = Leader();

        var index = leader.Propose(7);
        Assert.Equal(index, leader.Node.LastIndex);
        Assert.DoesNotContain(leader.Applied, static item => item.Value == 7);
        leader.Receive(ReplicationTests.Ack(Two, leader, index));

        Assert.Equal(7, leader.Applied[^1].Value);
    }

    /// <summary>
    /// Leaders: "If last log index ≥ nextIndex for a follower: send AppendEntries RPC with log entries starting at
    /// nextIndex. If successful: update nextIndex and matchIndex for follower."
    /// </summary>
    [Fact]
    public void Acknowledged_entries_move_match_and_next_index()
    {
        var leader = Leader();
        leader.TakeSent();
        Assert.Equal((LogIndex.None, new LogIndex(5)), Progress(leader));

        leader.Receive(ReplicationTests.Ack(Two, leader, new LogIndex(5)));
        Assert.Equal((new LogIndex(5), new LogIndex(6)), Progress(leader));

        leader.TakeSent();
        leader.Propose(7);
        Assert.Equal(new LogIndex(5), leader.TakeSent().Single(static m => m.To == Two).LogIndex);
    }

    /// <summary>
    /// Leaders: "If AppendEntries fails because of log inconsistency: decrement nextIndex and retry."
    /// </summary>
    [Fact]
    public void Refused_entries_are_sent_again_from_further_back()
    {
        var leader = Leader();
        leader.TakeSent();

        leader.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.AppendEntriesResponse,
            From = Two,
            To = One,
            Term = new Term(4),
            Reject = true,
            LogIndex = new LogIndex(4),
            RejectHint = new LogIndex(2),
            LogTerm = new Term(1),
        });

        var retry = leader.TakeOnly(RaftMessageKind.AppendEntries);
        Assert.Equal((new LogIndex(2), new Term(1), 3), (retry.LogIndex, retry.LogTerm, retry.EntryCount));
        Assert.Equal([2, 3, 4], retry.EntryTerms.Select(static t => (int)t.Value));
    }

    /// <summary>
    /// AppendEntries 2: "Reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm."
    /// </summary>
    [Theory]
    [InlineData(5, 3)]
    [InlineData(4, 2)]
    [InlineData(3, 3)]
    public void Entries_behind_an_unknown_entry_are_refused_and_change_nothing(int previous, int previousTerm)
    {
        var follower = Waiting();

        follower.Receive(Append(term: 3, previous, previousTerm, terms: [3, 3]));

        Assert.True(follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).Reject);
        Assert.Equal([1, 1, 2, 3], TermsOf(follower.DurableLog));
    }

    /// <summary>
    /// AppendEntries 3: "If an existing entry conflicts with a new one (same index but different terms), delete the
    /// existing entry and all that follow it."
    /// </summary>
    [Fact]
    public void Conflicting_entry_goes_with_all_that_follow_it()
    {
        var follower = Waiting();

        follower.Receive(Append(term: 4, previous: 1, previousTerm: 1, terms: [1, 4]));

        Assert.Equal([1, 1, 4], TermsOf(follower.DurableLog));
    }

    /// <summary>
    /// AppendEntries 3 and 4: what agrees stays, with all that follows: a late message must not cut off what a later
    /// one brought. "Append any new entries not already in the log."
    /// </summary>
    [Theory]
    [InlineData(1, new[] { 1 }, new[] { 1, 1, 2, 3 })]
    [InlineData(2, new[] { 2, 3 }, new[] { 1, 1, 2, 3 })]
    [InlineData(2, new[] { 2, 3, 3 }, new[] { 1, 1, 2, 3, 3 })]
    [InlineData(4, new[] { 3, 3 }, new[] { 1, 1, 2, 3, 3, 3 })]
    public void Entries_that_are_known_stay_and_only_new_ones_are_appended(int previous, int[] terms, int[] log)
    {
        var follower = Waiting();
        int[] before = [0, 1, 1, 2, 3];

        follower.Receive(Append(term: 3, previous, before[previous], terms));

        Assert.Equal(log, TermsOf(follower.DurableLog));
        Assert.Equal((false, new LogIndex(previous + terms.Length)), Last(follower.TakeSent()));
    }

    /// <summary>
    /// AppendEntries 5: "If leaderCommit &gt; commitIndex, set commitIndex = min(leaderCommit, index of last new
    /// entry)": an older commit index does not take it back.
    /// </summary>
    [Fact]
    public void Commit_index_never_goes_back()
    {
        var follower = Waiting();

        follower.Receive(Append(term: 3, previous: 4, previousTerm: 3, terms: [], commit: 4));
        follower.Receive(Append(term: 3, previous: 4, previousTerm: 3, terms: [], commit: 2));

        Assert.Equal(new LogIndex(4), follower.Node.CommitIndex);
    }

    private static (bool Reject, LogIndex Index) Last(RaftMessage[] sent) => (sent[^1].Reject, sent[^1].LogIndex);

    private static (LogIndex Match, LogIndex Next) Progress(Replica leader) =>
        (leader.Node.Followers[0].MatchIndex, leader.Node.Followers[0].NextIndex);
}
