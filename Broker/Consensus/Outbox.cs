namespace Broker.Consensus;

/// <summary>Messages that leave with the next Ready, and those that wait for a write first.</summary>
internal sealed class Outbox(DiskProgress disk)
{
    /// <summary>
    /// Messages held back while a term or vote is on its way to the disk. A stalled disk collects a few a heartbeat;
    /// beyond the bound the newest are dropped, as a network might.
    /// </summary>
    public const int MaxHeldMessages = 1024;

    private readonly Queue<(long Sequence, RaftMessage Message)> _held = new();

    /// <summary>What may be sent now; handed out, and exchanged for an empty list, with each Ready.</summary>
    private List<RaftMessage> _messages = [];

    public int Count => _messages.Count;

    /// <summary>
    /// Sends a message, after the term and vote that it may reveal are durable (Raft thesis 3.8). A leader's are
    /// durable already, so that its entries leave in parallel with its own write (10.2.1).
    /// </summary>
    public void Send(in RaftMessage message)
    {
        if (disk.IsHardStateDurable)
        {
            _messages.Add(message);
        }
        else if (_held.Count < MaxHeldMessages)
        {
            _held.Enqueue((disk.HardStateSequence, message));
        }
    }

    /// <summary>All that waited for writes up to this sequence may leave.</summary>
    public void Release(long persistedSequence)
    {
        while (_held.TryPeek(out var held) && held.Sequence <= persistedSequence)
        {
            _messages.Add(_held.Dequeue().Message);
        }
    }

    /// <summary>Hands out what may leave, in exchange for an empty list.</summary>
    public List<RaftMessage> Take(List<RaftMessage> empty)
    {
        var messages = _messages;
        _messages = empty;
        return messages;
    }
}
