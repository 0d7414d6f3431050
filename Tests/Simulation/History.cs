using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// What the whole cluster has done, seen from outside, and what must hold of it at every step (Raft thesis, figure 3.2,
/// and this broker's own promises). A node that breaks one of these ends the run.
/// </summary>
internal sealed class History(World world)
{
    private readonly Dictionary<Term, NodeId> _leaders = [];

    /// <summary>Every entry that any log ever held: index and term name it and all before it (log matching).</summary>
    private readonly Dictionary<(LogIndex Index, Term Term), ulong> _entries = [];

    /// <summary>The committed log, and the term in which each entry committed.</summary>
    private readonly List<(Entry Entry, Term CommitTerm)> _committed = [];

    private readonly List<(LogIndex Index, Entry Entry)> _acknowledged = [];

    public int Acknowledged => _acknowledged.Count;

    public int Elections => _leaders.Count;

    public Action<LogIndex, Entry>? OnAcknowledged { get; set; }

    /// <summary>
    /// Election safety: a term has at most one leader. Leader completeness: it has what committed before.
    /// </summary>
    public void CheckLeader(SimulatedNode node)
    {
        if (!node.IsLeader)
        {
            return;
        }

        if (!_leaders.TryAdd(node.Term, node.Id))
        {
            World.Check(_leaders[node.Term] == node.Id, $"{node.Id} and {_leaders[node.Term]} lead term {node.Term}");
        }

        for (var i = _committed.Count - 1; i >= 0; i--)
        {
            if (_committed[i].CommitTerm < node.Term)
            {
                var holds = node.Log.Count > i && node.Log[i].Chain == _committed[i].Entry.Chain;
                World.Check(holds, $"leader {node.Id} of term {node.Term} lacks committed entry {i + 1}");
                break;
            }
        }
    }

    public void CheckAppended(SimulatedNode node, LogIndex index, Entry entry)
    {
        if (!_entries.TryAdd((index, entry.Term), entry.Chain))
        {
            World.Check(
                _entries[(index, entry.Term)] == entry.Chain,
                $"log matching: node {node.Id} has another log before entry {index} of term {entry.Term}");
        }
    }

    /// <summary>State machine safety: all apply the same entries. What commits is on the disks of a majority.</summary>
    public void CheckApplied(SimulatedNode node, LogIndex index, Entry entry, Term term)
    {
        World.Check(
            HasOnDisk(node, index, entry), $"node {node.Id} applies entry {index}, which is not on its own disk");
        if (index.Value <= _committed.Count)
        {
            var committed = _committed[(int)index.Value - 1].Entry;
            World.Check(committed == entry, $"node {node.Id} applies another entry {index} than those before it");
            return;
        }

        CheckOnMajority(index, entry);
        _committed.Add((entry, term));
        foreach (var leader in world.Nodes.Where(n => n.IsLeader && n.Term > term))
        {
            var holds = leader.Log.Count >= index.Value && leader.Log[(int)index.Value - 1] == entry;
            World.Check(holds, $"leader {leader.Id} of term {leader.Term} lacks entry {index}, committed in {term}");
        }
    }

    public void Acknowledge(SimulatedNode node, LogIndex index, Entry entry)
    {
        CheckOnMajority(index, entry);
        World.Check(_committed[(int)index.Value - 1].Entry == entry, $"node {node.Id} acknowledges what has committed");
        _acknowledged.Add((index, entry));
        OnAcknowledged?.Invoke(index, entry);
    }

    /// <summary>A message reveals terms, votes and entries: they must be on the sender's disk.</summary>
    public void CheckRevealed(SimulatedNode node, RaftMessage message)
    {
        var disk = node.Disk;
        var onDisk = disk.HardState;
        var revealsTerm = message.Kind switch
        {
            RaftMessageKind.RequestPreVote => new Term(message.Term.Value - 1),
            RaftMessageKind.RequestPreVoteResponse when !message.Reject => Term.None,
            _ => message.Term,
        };
        World.Check(onDisk.Term >= revealsTerm, $"node {node.Id} reveals term {revealsTerm} with {onDisk} on disk");
        var vote = message.Kind switch
        {
            RaftMessageKind.RequestVote => node.Id,
            RaftMessageKind.RequestVoteResponse when !message.Reject => message.To,
            RaftMessageKind.AppendEntries or RaftMessageKind.Heartbeat => node.Id,
            _ => NodeId.None,
        };
        var voteIsDurable = vote.IsNone || onDisk.Term > message.Term || onDisk.VotedFor == vote;
        World.Check(voteIsDurable, $"node {node.Id} reveals a vote for {vote} with {onDisk} on disk");

        var acknowledges = message is
        {
            Kind: RaftMessageKind.AppendEntriesResponse or RaftMessageKind.HeartbeatResponse, Reject: false,
        };
        if (acknowledges && message.LogIndex > LogIndex.None)
        {
            CheckAcknowledgement(node, message);
        }
    }

    /// <summary>At the end, everywhere: all that was acknowledged is there, in its place.</summary>
    public void CheckNothingLost()
    {
        foreach (var node in world.Nodes)
        {
            foreach (var (index, entry) in _acknowledged)
            {
                var holds = node.AppliedIndex >= index && node.Log[(int)index.Value - 1] == entry;
                World.Check(holds, $"node {node.Id} has lost acknowledged entry {index} (value {entry.Value})");
            }
        }
    }

    private static bool HasOnDisk(SimulatedNode node, LogIndex index, Entry entry) =>
        node.Disk.Entries.Count >= index.Value && node.Disk.Entries[(int)index.Value - 1] == entry;

    private static void CheckAcknowledgement(SimulatedNode node, RaftMessage message)
    {
        var index = (int)message.LogIndex.Value;
        var entries = node.Disk.Entries;
        World.Check(entries.Count >= index, $"node {node.Id} acknowledges entry {index}; its disk has {entries.Count}");
        World.Check(
            entries[index - 1] == node.Log[index - 1],
            $"node {node.Id} acknowledges entry {index}; its disk has another");
    }

    private void CheckOnMajority(LogIndex index, Entry entry)
    {
        var count = world.Nodes.Count(node => HasOnDisk(node, index, entry));
        World.Check(count > world.Nodes.Count / 2, $"entry {index} commits with only {count} durable copies");
    }
}
