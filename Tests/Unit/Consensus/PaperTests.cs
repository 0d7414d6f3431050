using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// One test for each sentence of the rules in the Raft paper's figure 2 and in the thesis' sections that go beyond it,
/// with the sentence in its comment. Where another class tests a sentence already, the table names that test.
/// <list type="table">
/// <item><term>Figure 2, RequestVote 1</term><description><see
/// cref="ElectionTests.Sender_of_an_older_term_is_told_the_newer_one"/></description></item>
/// <item><term>RequestVote 2</term><description><see cref="ElectionTests.Replica_gives_one_vote_a_term"/>, <see
/// cref="ElectionTests.Voter_refuses_a_candidate_whose_log_is_older"/></description></item>
/// <item><term>AppendEntries 1</term><description><see
/// cref="ElectionTests.Sender_of_an_older_term_is_told_the_newer_one"/></description></item>
/// <item><term>AppendEntries 5</term><description><see
/// cref="DurabilityTests.Commit_index_beyond_the_followers_log_is_clamped"/></description></item>
/// <item><term>Leaders, last sentence; thesis 3.6.2</term><description><see
/// cref="DurabilityTests.Entry_of_an_older_term_on_a_majority_is_not_committed_by_counting"/></description></item>
/// <item><term>Thesis 3.8: "prevents the server from voting twice in the same term"</term><description><see
/// cref="ElectionTests.Replica_remembers_its_vote_after_a_restart"/></description></item>
/// <item><term>3.8: "persists new log entries before they are counted"</term><description><see
/// cref="DurabilityTests.Follower_acknowledges_only_what_it_has_flushed"/>, <see
/// cref="DurabilityTests.Leader_counts_itself_only_when_it_has_flushed"/></description></item>
/// <item><term>3.10</term><description><see cref="TransferTests"/></description></item>
/// <item><term>4.1: one change at a time, none before an entry of the term has committed, fallback</term>
/// <description>scenes members-one-at-a-time, -not-ready, -truncated, -torn</description></item>
/// <item><term>4.2.1, 4.2.2</term><description>scenes learner, members-remove-leader, -two-to-one,
/// -removed-still-needed</description></item>
/// <item><term>5.1, paper figure 13</term><description>scenes snapshot, -conflict, -known, -old,
/// -failed</description></item>
/// <item><term>6.4, steps 1 to 4</term><description>scenes read-index, -stale-leader,
/// -single-voter</description></item>
/// <item><term>4.2.3: "does not update its term or grant its vote"</term><description><see
/// cref="PreVoteTests.Vote_request_against_a_live_leader_is_not_heard_unless_it_is_forced"/></description></item>
/// <item><term>6.2: "a leader steps down"</term><description><see
/// cref="PreVoteTests.Leader_steps_down_when_quorum_is_lost"/></description></item>
/// <item><term>9.6</term><description><see cref="PreVoteTests"/></description></item>
/// <item><term>10.2.1: "in parallel with replicating"</term><description><see
/// cref="DurabilityTests.Entries_leave_in_parallel_with_the_leaders_own_write"/></description></item>
/// </list>
/// </summary>
public sealed partial class PaperTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    /// <summary>A replica of three in term 3, with entries of terms 1, 1, 2 and 3, that has heard nothing.</summary>
    private static Replica Waiting() =>
        new(1, 3, hardState: new HardState(new Term(3), NodeId.None), logTerms: [1, 1, 2, 3]);

    private static Replica Candidate()
    {
        var replica = Waiting();
        replica.Tick(replica.Node.NextDeadlineMs);
        replica.Receive(Answer(RaftMessageKind.RequestPreVoteResponse, Two, term: 4, context: Round(replica)));
        Assert.Equal(RaftRole.Candidate, replica.Node.Role);
        return replica;
    }

    private static Replica Leader()
    {
        var replica = Candidate();
        replica.Receive(Answer(RaftMessageKind.RequestVoteResponse, Two, term: 4));
        Assert.Equal(RaftRole.Leader, replica.Node.Role);
        return replica;
    }

    /// <summary>Takes the pre-vote requests, and tells their round.</summary>
    private static long Round(Replica replica) => replica.TakeSent()[0].Context;

    private static RaftMessage Answer(
        RaftMessageKind kind, NodeId from, int term, bool reject = false, long context = 0) => new()
        {
            Kind = kind,
            From = from,
            To = One,
            Term = new Term(term),
            Reject = reject,
            Context = context,
        };

    private static RaftMessage Append(
        int term, int previous, int previousTerm, int[] terms, int commit = 0) => new()
        {
            Kind = RaftMessageKind.AppendEntries,
            From = Two,
            To = One,
            Term = new Term(term),
            LogIndex = new LogIndex(previous),
            LogTerm = new Term(previousTerm),
            CommitIndex = new LogIndex(commit),
            EntryCount = terms.Length,
            EntryTerms = [.. terms.Select(static t => new Term(t))],
            Context = 1,
        };

    private static RaftMessage Ask(RaftMessageKind kind, NodeId from, int term, int last, int lastTerm) => new()
    {
        Kind = kind,
        From = from,
        To = One,
        Term = new Term(term),
        LogIndex = new LogIndex(last),
        LogTerm = new Term(lastTerm),
    };

    private static int[] TermsOf(IEnumerable<Item> log) => [.. log.Select(static item => (int)item.Term.Value)];
}
