using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Storage;
using Broker.Transport;

namespace Broker.Replication;

/// <summary>
/// What goes to the other replicas. Entries of a follower that is up to date are in memory; a laggard's are read in the
/// background, so that a cold disk never delays a heartbeat, and so is the snapshot of one that is behind the log.
/// </summary>
internal sealed class PeerLanes(
    IGroupLoop loop, IPeerSender sender, LogEntries entries, SnapshotFiles snapshots, GroupWrites writes,
    GroupBackground background, ILogger logger)
{
    private readonly GroupId _group = loop.Id;
    private readonly List<SendLane> _lanes = [];
    private readonly List<LogEntry> _sendBuffer = [];

    /// <summary>
    /// The entries that were last sent from memory, in their form on the wire: the next follower is mostly sent the
    /// same. A leader's term and a range name them, as a leader only appends.
    /// </summary>
    private readonly List<PeerEntry> _wireEntries = [];

    private (Term Term, LogIndex Previous, int Count) _wireRange;
    private int _snapshotReads;

    /// <summary>While the snapshot at the base is read, for followers, the base stays.</summary>
    public bool IsReadingSnapshot => _snapshotReads > 0;

    /// <summary>A follower needs the snapshot at the base, and this replica cannot read it.</summary>
    public bool IsBaseUnreadable { get; private set; }

    public void Send(in RaftMessage message)
    {
        if (message.Kind == RaftMessageKind.InstallSnapshot)
        {
            SendSnapshot(message);
            return;
        }

        if (message.Kind != RaftMessageKind.AppendEntries)
        {
            sender.Send(message.To, PeerMessageMapper.ToWire(_group, message));
            return;
        }

        var lane = LaneTo(message.To);
        if (!lane.IsReading && TrySendFromMemory(message))
        {
            return;
        }

        if (!lane.TryEnqueue(message))
        {
            ReplicationEvents.LaneFull(logger, _group.Value, message.To.Value);
        }
        else if (!lane.IsReading)
        {
            StartReading(lane);
        }
    }

    /// <summary>It waits for entries that this leader could not read when it last tried.</summary>
    public bool LacksUnreadable(FollowerProgress follower)
    {
        foreach (var lane in _lanes)
        {
            if (lane.To == follower.NodeId)
            {
                return follower.MatchIndex <= lane.UnreadableBehind;
            }
        }

        return false;
    }

    /// <summary>What could not be read is not wanted of this replica, which does not lead.</summary>
    public void ForgetUnreadable()
    {
        IsBaseUnreadable = false;
        _lanes.ForEach(static lane => lane.UnreadableBehind = null);
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
                && entries.ReadFromMemory(message.LogIndex.Next(), last, int.MaxValue, _sendBuffer)
                    < message.EntryCount)
            {
                return false;
            }

            MakeWireEntries(_sendBuffer, _wireEntries);
            _wireRange = range;
        }

        sender.Send(message.To, PeerMessageMapper.ToWire(_group, message, _wireEntries));
        return true;
    }

    private static void MakeWireEntries(List<LogEntry> from, List<PeerEntry> into)
    {
        into.Clear();
        foreach (var entry in from)
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
        // Who votes may have hollow entries of which nobody wants more: the follower applies them as they are. That is
        // so also where it is to stop voting, and says already that it may give up the rest.
        var hollowToo = !loop.IsHollow;
        background.Run(() =>
        {
            var read = ReadForSending(messages, hollowToo, out var isDamaged);
            loop.Resume(() => FinishReading(lane, messages, read, isDamaged));
        });
    }

    /// <summary>The messages with their entries, up to the first that cannot be read. Runs in the background.</summary>
    private List<PeerMessage> ReadForSending(RaftMessage[] messages, bool hollowToo, out bool isDamaged)
    {
        isDamaged = false;
        var wires = new List<PeerMessage>(messages.Length);
        var found = new List<LogEntry>();
        var wireEntries = new List<PeerEntry>();
        foreach (var message in messages)
        {
            found.Clear();
            var last = message.LogIndex + message.EntryCount;
            if (!entries.TryRead(message.LogIndex.Next(), last, int.MaxValue, found, hollowToo, out isDamaged))
            {
                break;
            }

            MakeWireEntries(found, wireEntries);
            wires.Add(PeerMessageMapper.ToWire(_group, message, wireEntries));
        }

        return wires;
    }

    private void FinishReading(SendLane lane, RaftMessage[] messages, List<PeerMessage> read, bool isDamaged)
    {
        lane.IsReading = false;
        lane.UnreadableBehind = isDamaged ? messages[read.Count].LogIndex : null;
        for (var i = 0; i < read.Count && IsCurrent(messages[i]); i++)
        {
            sender.Send(lane.To, read[i]);
        }

        HoldBackLearner(lane.To, read);

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
    /// What a new node gets of a long log is all read here, and would take the disk and the network from the others
    /// for as long as that lasts. Raft sends it no more until what was read has had its time, so that nothing has to
    /// wait here: what waits in a lane goes all at once later, is refused, and comes again.
    /// </summary>
    private void HoldBackLearner(NodeId to, List<PeerMessage> read)
    {
        if (!loop.Raft.Configuration.IsLearner(to))
        {
            return;
        }

        var bytes = 0L;
        foreach (var message in read)
        {
            foreach (var entry in message.Entries)
            {
                bytes += LogEntry.OverheadBytes + entry.Body.Length;
            }
        }

        loop.Raft.HoldBack(to, (long)Math.Ceiling(sender.ChargeCopy(bytes).TotalMilliseconds));
    }

    /// <summary>
    /// A leader never truncates, so what it decided to send in this term is still what it has; any other message is
    /// stale.
    /// </summary>
    private bool IsCurrent(in RaftMessage message) =>
        loop.Raft.Role == RaftRole.Leader && loop.Raft.Term == message.Term;

    /// <summary>Reads the snapshot at the base in the background, then hands it to the transport.</summary>
    private void SendSnapshot(RaftMessage message)
    {
        _snapshotReads++;
        background.Run(() =>
        {
            StateSnapshot? snapshot = null;
            var failure = GroupBackground.Attempt(() => snapshots.TryRead(message.LogIndex, out snapshot));
            loop.Resume(() => FinishSnapshotRead(message, snapshot, failure));
        });
    }

    private void FinishSnapshotRead(RaftMessage message, StateSnapshot? snapshot, string? failure)
    {
        _snapshotReads--;
        if (!IsCurrent(message))
        {
            return;
        }

        if (snapshot is null && (message.LogIndex < loop.Raft.BaseIndex || writes.Dropping is not null))
        {
            // The base moves, and the snapshot at the old one goes: that at the new one is what the follower gets.
            loop.Raft.ReportSnapshot(message.To, sent: false);
            return;
        }

        if (snapshot is null)
        {
            ReplicationEvents.SnapshotUnavailable(
                logger, _group.Value, message.LogIndex.Value, message.To.Value, failure ?? "it is missing or damaged");
            IsBaseUnreadable = true;
            loop.Raft.ReportSnapshot(message.To, sent: false);
            return;
        }

        var wire = PeerMessageMapper.ToWire(_group, message, snapshot.Configuration);
        sender.SendSnapshot(
            message.To,
            _group,
            wire,
            snapshot.Data,
            sent => loop.Resume(() => loop.Raft.ReportSnapshot(message.To, sent)));
    }
}

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
