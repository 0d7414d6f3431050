using System.Diagnostics;
using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Replication;

/// <summary>What other threads hand in. Everything here but <see cref="Take"/> may be called by any thread.</summary>
public sealed partial class ReplicaGroup
{
    private int _waitingCount;
    private long _waitingBytes;

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
            return;
        }

        if (_isStuck)
        {
            proposal.Fail(Refusal.CannotWrite(Id, _isDiskFull));
            return;
        }

        var bytes = Interlocked.Add(ref _waitingBytes, proposal.SizeBytes);
        var count = Interlocked.Increment(ref _waitingCount);
        if (count > Limits.WaitingProposalsPerGroup || bytes > Limits.WaitingProposalBytesPerGroup)
        {
            Uncount(proposal);
            proposal.Fail(Refusal.Overloaded($"The publish queue of group {Id}", TimeSpan.FromMilliseconds(20)));
            return;
        }

        proposal.EnqueuedAt = Stopwatch.GetTimestamp();
        _metrics.Queued(1);
        Hand(new GroupInput(GroupInputKind.Proposal, Proposal: proposal));
    }

    /// <summary>A message from another node arrived.</summary>
    public void Receive(PeerMessage message) => Hand(new GroupInput(GroupInputKind.Message, Message: message));

    public void PeerReachable(NodeId peer) => Hand(new GroupInput(GroupInputKind.PeerReachable, Peer: peer));

    public void PeerUnreachable(NodeId peer) => Hand(new GroupInput(GroupInputKind.PeerUnreachable, Peer: peer));

    /// <summary>Asks the leader of this group, if it is this replica, to hand leadership to another node.</summary>
    public void TransferLeadership(NodeId to) => Hand(new GroupInput(GroupInputKind.TransferLeadership, Peer: to));

    /// <summary>The same, unless that node lags or is not well: then everything stays as it is.</summary>
    public void OfferLeadership(NodeId to) => Resume(() => TransferWhenFit(to));

    /// <summary>Has the loop go on with something that was waited for.</summary>
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
                _waiting.Enqueue(input.Proposal!);
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

    /// <summary>The proposal waits no more.</summary>
    private void Forget(Proposal proposal)
    {
        Uncount(proposal);
        _metrics.Dequeued(1);
    }

    private void Uncount(Proposal proposal)
    {
        Interlocked.Decrement(ref _waitingCount);
        Interlocked.Add(ref _waitingBytes, -proposal.SizeBytes);
    }

    private BrokerException RefuseAsFollower(NodeId leader) =>
        !leader.IsNone ? Refusal.NotLeader(Id, leader)
        : _isDiskFull ? Refusal.CannotWrite(Id, isFull: true)
        : Refusal.NoLeader(Id);
}
