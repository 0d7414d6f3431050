using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;

namespace Broker.Replication;

/// <summary>
/// What goes to the other replicas. Entries of a follower that is up to date are in memory; a laggard's are read in the
/// background, so that a cold disk never delays a heartbeat.
/// </summary>
public sealed partial class ReplicaGroup
{
    private readonly List<SendLane> _lanes = [];
    private readonly List<LogEntry> _sendBuffer = [];

    /// <summary>
    /// The entries that were last sent from memory, in their form on the wire: the next follower is mostly sent the
    /// same. A leader's term and a range name them, as a leader only appends.
    /// </summary>
    private readonly List<PeerEntry> _wireEntries = [];

    private (Term Term, LogIndex Previous, int Count) _wireRange;

    private void Send(in RaftMessage message)
    {
        if (message.Kind == RaftMessageKind.InstallSnapshot)
        {
            SendSnapshot(message);
            return;
        }

        if (message.Kind != RaftMessageKind.AppendEntries)
        {
            _sender.Send(message.To, PeerMessageMapper.ToWire(Id, message));
            return;
        }

        var lane = LaneTo(message.To);
        if (!lane.IsReading && TrySendFromMemory(message))
        {
            return;
        }

        if (!lane.TryEnqueue(message))
        {
            ReplicationEvents.LaneFull(_logger, Id.Value, message.To.Value);
        }
        else if (!lane.IsReading)
        {
            StartReading(lane);
        }
    }

    private SendLane LaneTo(NodeId to)
    {
        foreach (var lane in _lanes)
        {
            if (lane.To == to)
            {
                return lane;
            }
        }

        var added = new SendLane(to);
        _lanes.Add(added);
        return added;
    }

    private bool TrySendFromMemory(in RaftMessage message)
    {
        var range = (message.Term, message.LogIndex, message.EntryCount);
        if (range != _wireRange)
        {
            _sendBuffer.Clear();
            var last = message.LogIndex + message.EntryCount;
            if (message.EntryCount > 0
                && _tail.Read(message.LogIndex.Next(), last, int.MaxValue, _sendBuffer) < message.EntryCount)
            {
                return false;
            }

            MakeWireEntries(_sendBuffer, _wireEntries);
            _wireRange = range;
        }

        _sender.Send(message.To, PeerMessageMapper.ToWire(Id, message, _wireEntries));
        return true;
    }

    private static void MakeWireEntries(List<LogEntry> entries, List<PeerEntry> into)
    {
        into.Clear();
        foreach (var entry in entries)
        {
            into.Add(PeerEntries.ToWire(entry));
        }
    }

    /// <summary>
    /// Reads for all messages that wait. Raft bounds what is in flight to a follower, and so what one read holds.
    /// </summary>
    private void StartReading(SendLane lane)
    {
        lane.IsReading = true;
        var messages = lane.TakeAll();
        RunInBackground(() =>
        {
            var read = ReadForSending(messages, out var isDamaged);
            Resume(() => FinishReading(lane, messages, read, isDamaged));
        });
    }

    /// <summary>The messages with their entries, up to the first that cannot be read. Runs in the background.</summary>
    private List<PeerMessage> ReadForSending(RaftMessage[] messages, out bool isDamaged)
    {
        isDamaged = false;
        var wires = new List<PeerMessage>(messages.Length);
        var entries = new List<LogEntry>();
        var wireEntries = new List<PeerEntry>();
        foreach (var message in messages)
        {
            entries.Clear();
            var last = message.LogIndex + message.EntryCount;
            if (!TryRead(message.LogIndex.Next(), last, int.MaxValue, entries, out isDamaged))
            {
                break;
            }

            MakeWireEntries(entries, wireEntries);
            wires.Add(PeerMessageMapper.ToWire(Id, message, wireEntries));
        }

        return wires;
    }

    /// <summary>
    /// Reads a range, or the first part of it that has maxBytes; says why when there is nothing. Any thread.
    /// </summary>
    private bool TryRead(LogIndex next, LogIndex last, int maxBytes, List<LogEntry> into) =>
        TryRead(next, last, maxBytes, into, out _);

    private bool TryRead(LogIndex next, LogIndex last, int maxBytes, List<LogEntry> into, out bool isDamaged)
    {
        isDamaged = false;
        try
        {
            var bytesLeft = (long)maxBytes;
            while (next <= last && bytesLeft > 0)
            {
                var count = ReadEntries(next, last, (int)bytesLeft, into);
                if (count == 0)
                {
                    // Truncated or dropped between the decision and now: Raft sends again what is still to be sent.
                    ReplicationEvents.EntryUnavailable(_logger, Id.Value, next.Value, "it is not in the log");
                    return false;
                }

                for (var i = into.Count - count; i < into.Count; i++)
                {
                    bytesLeft -= into[i].SizeBytes;
                }

                next += count;
            }

            return true;
        }
        catch (IOException failure)
        {
            ReplicationEvents.EntryUnavailable(_logger, Id.Value, next.Value, failure.Message);
            isDamaged = true;
            return false;
        }
    }

    private void FinishReading(SendLane lane, RaftMessage[] messages, List<PeerMessage> read, bool isDamaged)
    {
        lane.IsReading = false;
        lane.UnreadableBehind = isDamaged ? messages[read.Count].LogIndex : null;
        for (var i = 0; i < read.Count && IsCurrent(messages[i]); i++)
        {
            _sender.Send(lane.To, read[i]);
        }

        if (read.Count < messages.Length)
        {
            // What waits behind the hole would be refused by the follower. Raft finds the hole by its next heartbeat.
            lane.TakeAll();
            return;
        }

        while (lane.TryPeek(out var next))
        {
            if (IsCurrent(next) && !TrySendFromMemory(next))
            {
                StartReading(lane);
                return;
            }

            lane.Dequeue();
        }
    }

    /// <summary>
    /// A leader never truncates, so what it decided to send in this term is still what it has; any other message is
    /// stale.
    /// </summary>
    private bool IsCurrent(in RaftMessage message) => _raft.Role == RaftRole.Leader && _raft.Term == message.Term;
}
