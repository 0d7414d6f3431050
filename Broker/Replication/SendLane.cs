using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// The AppendEntries messages to one follower whose entries must be read from disk, and those behind them: they leave
/// in the order in which Raft sent them. Belongs to the loop.
/// </summary>
internal sealed class SendLane(NodeId to)
{
    private readonly Queue<RaftMessage> _waiting = new();

    public NodeId To { get; } = to;

    /// <summary>A read is under way; whatever follows must wait behind it.</summary>
    public bool IsReading { get; set; }

    /// <summary>The last try to read found damage behind this entry; null: it found none.</summary>
    public LogIndex? UnreadableBehind { get; set; }

    /// <summary>False: too many wait. Raft sends again what is lost.</summary>
    public bool TryEnqueue(in RaftMessage message)
    {
        if (_waiting.Count >= Limits.MessagesPerSendLane)
        {
            return false;
        }

        _waiting.Enqueue(message);
        return true;
    }

    public bool TryPeek(out RaftMessage message) => _waiting.TryPeek(out message);

    public void Dequeue() => _waiting.Dequeue();

    public RaftMessage[] TakeAll()
    {
        var all = _waiting.ToArray();
        _waiting.Clear();
        return all;
    }
}
