using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Storage;

namespace Broker.Replication;

/// <content>
/// What other threads hand in, and how the loop takes it. What is public here may be called by any thread.
/// </content>
public sealed partial class ReplicaGroup
{
    private enum GroupInputKind : byte
    {
        Proposal,
        Message,
        WriteCompleted,
        PeerReachable,
        PeerUnreachable,
        TransferLeadership,

        /// <summary>Something that the group had asked for is there: the loop goes on with it.</summary>
        Resume,
    }

    /// <summary>
    /// The nodes that should vote, and those that should only receive the log. The leader adds a missing one as
    /// learner, promotes a learner that should vote and has caught up, and removes a voter that says that it has lost
    /// its log, so that it comes back as a learner; and it removes whoever is none of them, but not itself. Null:
    /// members change only by <see cref="ChangeConfigurationAsync"/>.
    /// </summary>
    public DesiredMembers? DesiredMembers
    {
        get => _members.Desired;
        set => _members.Desired = value;
    }

    /// <summary>
    /// The disk is almost full: another replica should lead. What leads takes is for others to say. Any thread.
    /// </summary>
    public bool IsShortOfSpace
    {
        get => Volatile.Read(ref _isShortOfSpace);
        set => Volatile.Write(ref _isShortOfSpace, value);
    }

    /// <summary>
    /// By its operator's word another replica should lead, as this one is about to be stopped. Any thread.
    /// </summary>
    public bool IsDraining
    {
        get => Volatile.Read(ref _isDraining);
        set => Volatile.Write(ref _isDraining, value);
    }

    /// <summary>
    /// While this replica is a learner it may give up what the log's entries say, as all voters keep it: its sealed
    /// segments become hollow when the leader knows of it (<see cref="HollowWord"/>). False, the default: it keeps all,
    /// and what is hollow is to be brought back (<see cref="GroupLog.ReplaceSegment"/>). Any thread.
    /// </summary>
    public bool MayBeHollow
    {
        get => Volatile.Read(ref _mayBeHollow);
        set => Volatile.Write(ref _mayBeHollow, value);
    }

    /// <summary>
    /// Hands a command to the group. The proposal's callbacks tell its fate; it is refused at once when this replica
    /// does not lead, or when too much waits.
    /// </summary>
    public void Propose(Proposal proposal)
    {
        var status = _status;
        if (status.Role != RaftRole.Leader)
        {
            proposal.Fail(RefuseAsFollower(status.Leader));
        }
        else if (_leadership.IsStuck)
        {
            proposal.Fail(Refusal.CannotWrite(Id, _writes.IsDiskFull));
        }
        else if (_proposals.TryAdmit(proposal))
        {
            Hand(new GroupInput(GroupInputKind.Proposal, Proposal: proposal));
        }
    }

    /// <summary>
    /// Completes when this replica, the leader, has applied everything that was committed when this was called: a read
    /// of its state then misses nothing that anybody was told. Answers the index.
    /// </summary>
    /// <exception cref="BrokerException">
    /// NotLeader, NoLeader: ask the leader. ResourceExhausted: too many reads wait.
    /// </exception>
    public Task<LogIndex> ReadIndexAsync(CancellationToken cancellationToken) =>
        _reads.AskAsync(_status, cancellationToken);

    /// <summary>
    /// Completes when this replica has applied an entry: of a read elsewhere than at the leader, which has told the
    /// index. Answers it.
    /// </summary>
    /// <exception cref="BrokerException">ResourceExhausted: too many reads wait.</exception>
    public Task<LogIndex> WaitForAppliedAsync(LogIndex index, CancellationToken cancellationToken) =>
        _reads.WaitAsync(_status, index, cancellationToken);

    /// <summary>Changes the members by one; completes when the change is committed, with its index.</summary>
    /// <exception cref="BrokerException">
    /// NotLeader, NoLeader: ask the leader. FailedPrecondition: it cannot be made, or another change is under way.
    /// OutcomeUnknown: leadership moved meanwhile.
    /// </exception>
    public Task<LogIndex> ChangeConfigurationAsync(MembershipChange change, CancellationToken cancellationToken) =>
        _members.AskAsync(change, cancellationToken);

    /// <summary>
    /// By an operator's word the group goes on from this replica alone, as no leader can be elected; completes when
    /// that is committed, with the index of the entry that makes it the only member. See <see
    /// cref="RaftNode.TryForceRecovery"/>.
    /// </summary>
    /// <exception cref="BrokerException">
    /// FailedPrecondition: it cannot be, or not all others have given up their votes. OutcomeUnknown: another replica
    /// has a newer term.
    /// </exception>
    public Task<LogIndex> ForceRecoveryAsync(
        IReadOnlyCollection<NodeId> others, Term above, CancellationToken cancellationToken) =>
        _members.RecoverAsync(others, above, cancellationToken);

    /// <summary>A message from another node arrived.</summary>
    public void Receive(PeerMessage message) => Hand(new GroupInput(GroupInputKind.Message, Message: message));

    /// <summary>
    /// The leader's snapshot has arrived whole. Done says whether it is in use (or was not needed), and this replica's
    /// term.
    /// </summary>
    public void ReceiveSnapshot(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done) =>
        Resume(() => StepSnapshot(message, data, done));

    public void PeerReachable(NodeId peer) => Hand(new GroupInput(GroupInputKind.PeerReachable, Peer: peer));

    public void PeerUnreachable(NodeId peer) => Hand(new GroupInput(GroupInputKind.PeerUnreachable, Peer: peer));

    /// <summary>Asks the leader of this group, if it is this replica, to hand leadership to another node.</summary>
    public void TransferLeadership(NodeId to) => Hand(new GroupInput(GroupInputKind.TransferLeadership, Peer: to));

    /// <summary>The same, unless that node lags or is not well: then everything stays as it is.</summary>
    public void OfferLeadership(NodeId to) => Resume(() => _leadership.TransferWhenFit(to));

    /// <summary>
    /// Has the leader, if it is this replica, hand leadership to another node, or with none to the fit one that has
    /// most of the log. Answers whom it hands over to; none when it does not. Whether that one comes to lead, the
    /// status tells.
    /// </summary>
    public Task<NodeId> BeginTransferAsync(NodeId to)
    {
        var begun = new TaskCompletionSource<NodeId>(TaskCreationOptions.RunContinuationsAsynchronously);
        Resume(() => begun.SetResult(_leadership.BeginTransfer(to)));
        return begun.Task;
    }

    /// <summary>How far the followers are, as the leader knows it; empty when this replica does not lead.</summary>
    public Task<IReadOnlyList<FollowerProgress>> AskFollowersAsync()
    {
        var answer = new TaskCompletionSource<IReadOnlyList<FollowerProgress>>(
            TaskCreationOptions.RunContinuationsAsynchronously);
        Resume(() => answer.SetResult(_raft.Role == RaftRole.Leader ? _raft.Followers : []));
        return answer.Task;
    }

    /// <summary>What the replicated state says, asked by the thread that changes it; the question is short.</summary>
    public Task<T> AskAsync<T>(Func<T> question)
    {
        var answer = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Resume(() => answer.SetResult(question()));
        return answer.Task;
    }

    /// <summary>Sets <see cref="DesiredMembers"/>, and has the leader take the next step at once.</summary>
    public void Approach(DesiredMembers desired)
    {
        DesiredMembers = desired;
        Resume(_members.Approach);
    }

    /// <summary>
    /// Something has changed from which a duty of the leader may follow: it looks now, not in a second.
    /// </summary>
    public void LookForDuties()
    {
        if (_status.Role == RaftRole.Leader)
        {
            Resume(_duties.Propose);
        }
    }

    /// <summary>
    /// Has the thread that applies do something, between two entries: it must be quick. Any thread.
    /// </summary>
    internal void InTurn(Action then) => Resume(then);

    /// <summary>The log writer has made the submitted write durable.</summary>
    public void WriteCompleted() => Hand(new GroupInput(GroupInputKind.WriteCompleted));

    /// <summary>The log writer found no space for the submitted write: it is tried again.</summary>
    public void WriteFoundNoSpace(string reason) => Resume(() => _writes.WaitForSpace(reason));

    void IGroupLoop.Resume(Action then) => Resume(then);

    BrokerException IGroupLoop.RefuseAsFollower(NodeId leader) => RefuseAsFollower(leader);

    private BrokerException RefuseAsFollower(NodeId leader) =>
        !leader.IsNone ? Refusal.NotLeader(Id, leader)
        : _writes.IsDiskFull ? Refusal.CannotWrite(Id, isFull: true)
        : Refusal.NoLeader(Id);

    private void Resume(Action then) => Hand(new GroupInput(GroupInputKind.Resume, Then: then));

    private void Hand(in GroupInput input)
    {
        _inputs.Enqueue(input);
        Schedule();
    }

    private void Take(in GroupInput input)
    {
        switch (input.Kind)
        {
            case GroupInputKind.Proposal:
                _proposals.Enqueue(input.Proposal!);
                return;
            case GroupInputKind.Message:
                StepMessage(input.Message!);
                return;
            case GroupInputKind.WriteCompleted:
                FinishWrite();
                break;
            case GroupInputKind.PeerReachable:
                _raft.ReportReachable(input.Peer);
                break;
            case GroupInputKind.PeerUnreachable:
                _raft.ReportUnreachable(input.Peer);
                break;
            case GroupInputKind.TransferLeadership:
                _raft.TryTransferLeadership(input.Peer);
                break;
            case GroupInputKind.Resume:
                input.Then!();
                break;
        }

        HandleReady(NoEntries);
    }

    private void StepMessage(PeerMessage wire)
    {
        if (PeerMessageMapper.FromWire(wire, out var entries) is not { } message)
        {
            // Raft sends again what is not acknowledged, so a damaged or unknown message costs a round trip, nothing
            // else.
            ReplicationEvents.MessageDropped(_logger, Id.Value, wire.Kind, wire.From);
            return;
        }

        _raft.Step(message);
        HandleReady(entries);
    }

    private void StepSnapshot(PeerMessage wire, ReadOnlyMemory<byte> data, Action<bool, long> done)
    {
        if (PeerMessageMapper.FromWire(wire, out _)
            is not { Kind: RaftMessageKind.InstallSnapshot, Configurations.Count: 1 } message)
        {
            ReplicationEvents.MessageDropped(_logger, Id.Value, wire.Kind, wire.From);
            done(false, _raft.Term.Value);
            return;
        }

        var position = new LogPosition(message.LogIndex, message.LogTerm);
        var snapshot = new StateSnapshot(position, message.Configurations[0], data);
        _arrived = snapshot;
        _raft.Step(message);
        HandleReady(NoEntries);
        _arrived = null;
        _state.TakeSnapshot(message, snapshot, done);
    }

    /// <summary>Something that another thread hands to the loop.</summary>
    private readonly record struct GroupInput(
        GroupInputKind Kind, Proposal? Proposal = null, PeerMessage? Message = null, NodeId Peer = default,
        Action? Then = null);
}
