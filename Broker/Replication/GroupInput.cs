using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Replication;

internal enum GroupInputKind : byte
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

/// <summary>Something that another thread hands to a group's loop.</summary>
internal readonly record struct GroupInput(
    GroupInputKind Kind, Proposal? Proposal = null, PeerMessage? Message = null, NodeId Peer = default,
    Action? Then = null);
