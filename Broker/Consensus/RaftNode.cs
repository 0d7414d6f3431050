using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// One replica of a Raft group, as a pure step function: time, messages, proposals and finished writes come in; a <see
/// cref="Ready"/> says what to persist, to send and to apply. It has no clock, I/O, lock or payload, so the same inputs
/// and the same random source give the same outputs. One thread at a time may call it.
/// <para> Words and rules are those of Ongaro's thesis, with pre-vote (9.6), check-quorum (6.2), pipelining (10.2.1),
/// leadership transfer (3.10), and the leader's own write in parallel with its followers' (10.2.1). Nothing is revealed
/// before it is durable. </para>
/// <para>Start reading here; then Election, Replication, Following, Persistence; then Membership, Snapshot, ReadIndex,
/// Transfer; and Damage and Recovery, for replicas whose disk has lost something. What they decide by is in classes of
/// their own: <see cref="ElectionTimer"/>, <see cref="VoteTally"/>; <see cref="Follower"/>, <see
/// cref="FollowerTable"/>, <see cref="FollowerSender"/>; <see cref="DiskProgress"/>, <see cref="Outbox"/>; <see
/// cref="LogConfigurations"/>, <see cref="MembershipRules"/>; <see cref="ReadRounds"/>; <see
/// cref="LeadershipTransfer"/>; <see cref="ReplicaDamage"/>, <see cref="ForcedRecovery"/>. </para>
/// </summary>
public sealed partial class RaftNode
{
    private readonly RaftOptions _options;
    private readonly RaftTimes _times;
    private readonly RaftLog _log;
    private readonly Ready _ready = new();

    private long _nowMs;

    /// <summary>
    /// Never goes back, never exceeds <see cref="FlushedIndex"/>. Below the base only while a snapshot that came from
    /// the leader is on its way to the disk.
    /// </summary>
    private LogIndex _commitIndex;

    private LogIndex _revealedCommitIndex;
    private (RaftRole Role, Term Term, NodeId Leader) _revealedState;

    /// <param name="options">Who this replica and its peers are, and the times and bounds.</param>
    /// <param name="initial">What it recovered from its disk.</param>
    /// <param name="entrySizeBytes">The size of an entry that was recovered or that a Ready has handed out for
    /// appending.</param>
    /// <param name="random">Where random timeouts come from; its seed fixes the node's behaviour.</param>
    /// <param name="nowMs">The time, in milliseconds of a monotonic clock.</param>
    public RaftNode(
        RaftOptions options, RaftInitialState initial, Func<LogIndex, int> entrySizeBytes, Random random, long nowMs)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(initial);
        options.Validate();
        _options = options;
        _sizes = new EntrySizes(entrySizeBytes);
        _times = new RaftTimes(options);
        _followers = new FollowerTable(options.Id, _times);
        _election = new ElectionTimer(random, _times);
        _log = new RaftLog(initial.Base, initial.LastIndex, initial.TermRuns);
        Invariant.Check(_log.LastTerm <= initial.HardState.Term, "the term on disk covers the log on disk");
        Term = initial.HardState.Term;
        VotedFor = initial.HardState.VotedFor;
        _disk = new DiskProgress(initial.LastIndex);
        _outbox = new Outbox(_disk);
        _sender = new FollowerSender(options, _times, _log, _sizes, _outbox);
        _commitIndex = _revealedCommitIndex = LogIndex.Max(initial.CommitIndex, _log.BaseIndex);
        Invariant.Check(_commitIndex <= initial.LastIndex, "what is known to be committed is in the log");
        _nowMs = nowMs;
        _configurations = new LogConfigurations(initial, options.Voters);
        _hollow = new HollowWord(random);
        _damage = new ReplicaDamage(initial, random, nowMs + _times.DoubtMs);
        _ledTerm = initial.HasLedLastTerm ? _log.LastTerm : new Term(-1);
        _election.Start(IsOnlyVoter, IsPreferredToBegin, nowMs);
        _revealedState = (Role, Term, Leader);
    }

    public NodeId Id => _options.Id;

    public RaftRole Role { get; private set; }

    public Term Term { get; private set; }

    public NodeId VotedFor { get; private set; }

    /// <summary>Who leads the current term, as far as known; none otherwise.</summary>
    public NodeId Leader { get; private set; }

    /// <summary>The log begins after this entry, of which there is a snapshot.</summary>
    public LogIndex BaseIndex => _log.BaseIndex;

    public LogIndex LastIndex => _log.LastIndex;

    public Term LastTerm => _log.LastTerm;

    public LogIndex CommitIndex => _commitIndex;

    /// <summary>The highest commit index that a leader has told with entries, be they taken or not.</summary>
    public LogIndex LeaderCommitIndex { get; private set; }

    /// <summary>
    /// Set by the caller while this replica cannot write, or cannot apply what is committed. It tells its leader, who
    /// then does not hand over to it, and lets others go first in an election. Nothing that must hold depends on it.
    /// </summary>
    public bool IsHampered { get; set; }

    /// <summary>
    /// Set by the caller, of a learner that does not keep all that the log's entries say, or would like to give it up.
    /// It tells its leader, who does not make it a voter: so many voters, so many disks have each entry whole.
    /// </summary>
    public bool IsHollow
    {
        get => _hollow.Number != 0;
        set => _hollow.Set(value);
    }

    /// <summary>
    /// It may give up what committed entries say: as long as it is hollow, nobody makes it a voter.
    /// </summary>
    public bool MayGiveUpEntries => _hollow.IsKnownIn(Term) && Configuration.IsLearner(Id)
        && Configuration.Index <= _commitIndex;

    /// <summary>
    /// Set by the caller: hampered as it is, this replica takes over when its leader tells it to, who has found nobody
    /// better. Default false.
    /// </summary>
    public bool LeadsWhenAsked { get; set; }

    /// <summary>
    /// Set by the caller while somebody waits here for what commits next. It tells its leader with each entry that it
    /// acknowledges, and is told of commits at once then. Nothing that must hold depends on it.
    /// </summary>
    public bool AwaitsCommits { get; set; }

    /// <summary>The earliest time at which <see cref="Tick"/> has something to do.</summary>
    public long NextDeadlineMs => Role == RaftRole.Leader ? LeaderDeadlineMs : _election.DeadlineMs;

    /// <summary>Whether <see cref="TakeReady"/> has something to give.</summary>
    public bool HasReady =>
        _outbox.Count > 0
        || _replicationDue
        || _reads.IsDue
        || _reads.HasResults
        || HasWorkToPersist
        || _commitIndex > _revealedCommitIndex
        || _revealedState != (Role, Term, Leader);

    /// <summary>The term of an entry from the base to the last.</summary>
    public Term TermAt(LogIndex index) => _log.TermAt(index);

    /// <summary>
    /// Lets time pass. Call at any rate, at least every 10 ms; a time before the last one counts as the last one.
    /// </summary>
    public void Tick(long nowMs)
    {
        _nowMs = Math.Max(_nowMs, nowMs);
        if (_nowMs < NextDeadlineMs)
        {
            return;
        }

        if (Role == RaftRole.Leader)
        {
            TickLeader();
        }
        else
        {
            Campaign();
        }
    }

    /// <summary>
    /// Takes a message of a peer, member or not: the sender may know a newer configuration than this replica (Raft
    /// thesis 4.1). A message for another node is dropped. Take the Ready after each AppendEntries and InstallSnapshot,
    /// so that it can be matched with the bytes that came along.
    /// </summary>
    public void Step(in RaftMessage message)
    {
        if (message.To != Id || message.From == Id || message.From.IsNone || IsSuperseded)
        {
            return;
        }

        if (message.Term < Term)
        {
            AnswerOlderTerm(message);
            return;
        }

        if (message.Term == Term || TryEnterNewerTerm(message))
        {
            Handle(message);
        }
    }

    /// <summary>
    /// Appends an entry of the caller's to the log of this leader. The caller keeps its bytes under the index, and
    /// attaches them when a Ready names it. Several proposals may precede one Ready; they then leave in one message.
    /// </summary>
    public ProposeResult TryPropose(int sizeBytes, out LogIndex index)
    {
        index = LogIndex.None;
        if (Role != RaftRole.Leader)
        {
            return ProposeResult.NotLeader;
        }

        if (_transfer.IsUnderWay)
        {
            return ProposeResult.TransferringLeadership;
        }

        if (!_sizes.HasRoom(sizeBytes, _options.MaxUncommittedBytes))
        {
            return ProposeResult.Overloaded;
        }

        index = AppendAsLeader(sizeBytes);
        return ProposeResult.Accepted;
    }

    /// <summary>What to persist, to send and to apply since the last Ready.</summary>
    public Ready TakeReady()
    {
        if (Role == RaftRole.Leader)
        {
            ReplicateToAll();
            BeginReadRoundWhenDue();
        }

        _ready.Messages.Clear();
        _ready.Messages = _outbox.Take(_ready.Messages);
        _ready.ReadList.Clear();
        _ready.ReadList = _reads.Take(_ready.ReadList);
        TakeWhatToPersist();
        Invariant.Check(_commitIndex >= _revealedCommitIndex, "the commit index never goes back");
        Invariant.Check(_commitIndex <= FlushedIndex, "what commits here is durable here");
        _ready.CommitIndex = _revealedCommitIndex = _commitIndex;
        _ready.StateChanged = _revealedState != (Role, Term, Leader);
        _revealedState = (Role, Term, Leader);
        return _ready;
    }

    /// <summary>The connection to a peer broke: what was on its way may be lost, and the peer may be dead.</summary>
    public void ReportUnreachable(NodeId peer)
    {
        if (Role == RaftRole.Leader)
        {
            _followers.Find(peer)?.Pause(_log.BaseIndex);
        }
        else if (Role == RaftRole.Follower && peer == Leader)
        {
            _election.LoseConnection(peer, _nowMs);
        }
    }

    /// <summary>A connection to a peer was made, for the first time or again.</summary>
    public void ReportReachable(NodeId peer)
    {
        _election.RegainConnection(peer);
        if (Role == RaftRole.Leader)
        {
            ResumeFollower(peer);
        }
    }

    private void Handle(in RaftMessage message)
    {
        switch (message.Kind)
        {
            case RaftMessageKind.AppendEntries:
                HandleAppendEntries(message);
                break;
            case RaftMessageKind.AppendEntriesResponse:
                HandleAppendEntriesResponse(message);
                break;
            case RaftMessageKind.RequestVote:
                HandleRequestVote(message);
                break;
            case RaftMessageKind.RequestVoteResponse:
                HandleRequestVoteResponse(message);
                break;
            case RaftMessageKind.RequestPreVote:
                HandleRequestPreVote(message);
                break;
            case RaftMessageKind.RequestPreVoteResponse:
                HandleRequestPreVoteResponse(message);
                break;
            case RaftMessageKind.Heartbeat:
                HandleHeartbeat(message);
                break;
            case RaftMessageKind.HeartbeatResponse:
                HandleHeartbeatResponse(message);
                break;
            case RaftMessageKind.TimeoutNow:
                HandleTimeoutNow(message);
                break;
            case RaftMessageKind.InstallSnapshot:
                HandleInstallSnapshot(message);
                break;
            case RaftMessageKind.RequestSnapshot:
                HandleRequestSnapshot(message);
                break;
            case RaftMessageKind.RequestRecovery:
                HandleRequestRecovery(message);
                break;
            case RaftMessageKind.RecoveryResponse:
                HandleRecoveryResponse(message);
                break;
            default:
                // A kind of a newer version: Raft tolerates every lost message.
                break;
        }
    }
}
