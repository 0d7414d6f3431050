using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// One message between two replicas of a group; a value, so that a node allocates nothing for what it sends. A field
/// that its kind does not name is zero.
/// <list type="table">
/// <item><term>AppendEntries</term><description>LogIndex, LogTerm: the entry before the first that follows.
/// CommitIndex: the leader's. EntryCount, EntryTerms: what follows. Context: not 0 when the leader wants an answer
/// although there may be nothing new.</description></item>
/// <item><term>AppendEntriesResponse</term><description>Accepted: LogIndex is the match index, flushed; RejectHint is
/// how far the follower's log agrees with the leader's, flushed or not. Rejected: LogIndex is the rejected previous
/// index, RejectHint and LogTerm the last entry of the follower that may agree. Lost: see there. Force, accepted:
/// somebody waits there for what commits next.</description></item>
/// <item><term>RequestVote, RequestPreVote</term><description>LogIndex, LogTerm: the candidate's last entry. A
/// pre-vote's Term is the term that the candidate would campaign in. Force, Led: see there. Context of a pre-vote: its
/// round, given back in the answer.</description></item>
/// <item><term>RequestVoteResponse, RequestPreVoteResponse</term><description>Reject. A granted pre-vote repeats the
/// request's Term, a refused one tells the voter's own.</description></item>
/// <item><term>Heartbeat</term><description>CommitIndex: the leader's, clamped to what this follower has
/// acknowledged. Context: to a voter, the round of reads that its answer confirms, 0 for none; with LearnerSince, the
/// loss or the fence that this ends. Hollow: see there.</description></item>
/// <item><term>HeartbeatResponse</term><description>LogIndex: the match index, as in AppendEntriesResponse. Context:
/// the heartbeat's, or the number of the fence that the sender tells of. Force: the sender is hampered, and no heir.
/// Hollow: see there.
/// Reject without Lost: the answer to a leader of an older term, of which only Term counts.</description></item>
/// <item><term>InstallSnapshot</term><description>LogIndex, LogTerm: the snapshot's position, the leader's base.
/// CommitIndex: the leader's. Configurations: that of the snapshot.</description></item>
/// <item><term>RequestSnapshot</term><description>LogIndex: what the follower has applied; only a snapshot of a later
/// entry helps it.</description></item>
/// <item><term>RequestRecovery</term><description>LogIndex, LogTerm: the sender's last entry.</description></item>
/// <item><term>RecoveryResponse</term><description>Term: the request's. Reject: the sender of the answer keeps its
/// vote, for it hears a leader or has more.</description></item>
/// <item><term>TimeoutNow</term><description>Nothing more.</description></item>
/// </list>
/// </summary>
public readonly record struct RaftMessage
{
    private readonly IReadOnlyList<Term>? _entryTerms;
    private readonly IReadOnlyList<GroupConfiguration>? _configurations;

    public required RaftMessageKind Kind { get; init; }

    public required NodeId From { get; init; }

    public required NodeId To { get; init; }

    public required Term Term { get; init; }

    public LogIndex LogIndex { get; init; }

    public Term LogTerm { get; init; }

    public LogIndex CommitIndex { get; init; }

    public bool Reject { get; init; }

    public LogIndex RejectHint { get; init; }

    /// <summary>
    /// Of a vote request: it comes of a leadership transfer, so that voters do not protect the leader that they hear
    /// from (Raft thesis 4.2.3). Of answers, see there.
    /// </summary>
    public bool Force { get; init; }

    public long Context { get; init; }

    /// <summary>
    /// Of a vote request: the candidate itself led the term of its last entry, and its disk has lost nothing. So it
    /// has everything that committed up to the end of that term, see <see cref="ReplicaDamage"/>.
    /// </summary>
    public bool Led { get; init; }

    /// <summary>
    /// Of a response, together with Reject: the sender has lost its log or its vote, and acknowledges nothing until a
    /// configuration makes it a learner anew. Context is the number of the loss.
    /// </summary>
    public bool Lost { get; init; }

    /// <summary>
    /// Of a HeartbeatResponse: the sender is hollow (<see cref="HollowWord"/>), by this number. Of a Heartbeat: the
    /// leader has heard that number. 0: it is not.
    /// </summary>
    public long Hollow { get; init; }

    /// <summary>
    /// Of a Heartbeat: the receiver, which reported the loss that Context numbers, has been made a learner anew by the
    /// configuration at this index, which has committed; or the last entry of the leader when it heard of the
    /// receiver's fence, which Context numbers. 0 otherwise.
    /// </summary>
    public LogIndex LearnerSince { get; init; }

    /// <summary>The entries LogIndex+1 .. LogIndex+EntryCount follow; the caller attaches their bytes.</summary>
    public int EntryCount { get; init; }

    /// <summary>The term of each entry that follows.</summary>
    public IReadOnlyList<Term> EntryTerms
    {
        get => _entryTerms ?? [];
        init => _entryTerms = value;
    }

    /// <summary>
    /// For the receiver: the configurations among the entries that follow, in rising order; of an InstallSnapshot
    /// exactly one, that of the snapshot. Empty on what a node sends: the caller, who has the entries and the snapshot,
    /// finds them there.
    /// </summary>
    public IReadOnlyList<GroupConfiguration> Configurations
    {
        get => _configurations ?? [];
        init => _configurations = value;
    }

    public override string ToString() =>
        $"{Kind} {From}->{To} t{Term} log {LogIndex}/{LogTerm} commit {CommitIndex}"
        + (EntryCount > 0 ? $" +{EntryCount}" : string.Empty)
        + (Reject ? $" reject hint {RejectHint}" : string.Empty)
        + (Force ? " force" : string.Empty)
        + (Context != 0 ? $" context {Context}" : string.Empty)
        + (Lost ? " lost" : string.Empty)
        + (Led ? " led" : string.Empty)
        + (Hollow != 0 ? $" hollow {Hollow}" : string.Empty)
        + (LearnerSince.Value != 0 ? $" learner since {LearnerSince}" : string.Empty);
}
