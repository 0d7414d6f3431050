using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Replication;

/// <summary>Takes messages for other nodes. Never blocks; may drop (Raft sends again).</summary>
public interface IPeerSender
{
    void Send(NodeId to, PeerMessage message);

    /// <summary>
    /// All groups were pumped: heartbeats that waited for those of other groups leave. Nothing to do for who sends each
    /// at once.
    /// </summary>
    void Flush()
    {
    }

    /// <summary>
    /// Gives a follower the snapshot that the message (of kind InstallSnapshot) names, beside the stream of messages.
    /// done is called once, from any thread: true when the follower has it durably in use. The data must not change
    /// before.
    /// </summary>
    void SendSnapshot(NodeId to, GroupId group, PeerMessage message, ReadOnlyMemory<byte> data, Action<bool> done);

    /// <summary>
    /// So many bytes were read from disk for a node that is new. All groups of the node share what may be sent so:
    /// answers for how long this one sends it no more.
    /// </summary>
    TimeSpan ChargeCopy(long bytes);
}
