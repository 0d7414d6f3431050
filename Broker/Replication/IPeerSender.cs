using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Replication;

/// <summary>Takes messages for other nodes. Never blocks; may drop (Raft sends again).</summary>
public interface IPeerSender
{
    void Send(NodeId to, PeerMessage message);
}
