using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// The nodes of a scene, the messages on their way between them, and the trace. Nothing happens unless a command says
/// so. Whatever the trace shows, each step is held to the promises of Raft (thesis, figure 3.2).
/// </summary>
internal sealed class ScriptWorld
{
    /// <summary>A scene that goes on and on by itself has a bug.</summary>
    private const int MaxLines = 5_000;

    private readonly List<string> _trace = [];
    private readonly List<RaftMessage> _network = [];
    private readonly HashSet<(NodeId, NodeId)> _cut = [];
    private readonly Dictionary<Term, NodeId> _leaders = [];
    private readonly Dictionary<LogIndex, Term> _applied = [];
    private readonly SortedDictionary<int, ScriptNode> _nodes = [];

    /// <summary>The members that entries and snapshots hold, by the entry's name.</summary>
    private readonly Dictionary<LogPosition, GroupConfiguration> _configurations = [];

    public IEnumerable<ScriptNode> Nodes => _nodes.Values;

    public IReadOnlyList<RaftMessage> Network => _network;

    public ScriptNode this[int id] =>
        _nodes.TryGetValue(id, out var node) ? node : throw new InvalidDataException($"there is no node {id}");

    public void Add(RaftOptions options) => _nodes.Add(options.Id.Value, new ScriptNode(options, this));

    public void Trace(string line)
    {
        Assert.True(_trace.Count < MaxLines, "a command comes to an end");
        _trace.Add(line);
    }

    /// <summary>Takes what happened since the last time.</summary>
    public string[] TakeTrace()
    {
        string[] taken = [.. _trace];
        _trace.Clear();
        return taken;
    }

    public void Send(RaftMessage message) => _network.Add(message);

    public void Cut(int left, int right)
    {
        _cut.Add((new NodeId(left), new NodeId(right)));
        _cut.Add((new NodeId(right), new NodeId(left)));
    }

    public void Heal() => _cut.Clear();

    public void Lose(IReadOnlyCollection<RaftMessage> messages)
    {
        foreach (var message in messages)
        {
            _network.Remove(message);
            Trace($"lost {ScriptText.Name(message)}");
        }
    }

    /// <summary>Delivers messages, in the order in which they were sent.</summary>
    public void Deliver(IReadOnlyCollection<RaftMessage> messages, bool keep = false)
    {
        foreach (var message in messages)
        {
            if (!keep)
            {
                _network.Remove(message);
            }

            var to = this[message.To.Value];
            if (!to.IsUp || _cut.Contains((message.From, message.To)))
            {
                Trace($"lost {ScriptText.Name(message)}");
                continue;
            }

            Trace($"{to.Id} takes {ScriptText.Name(message)}");
            to.Step(WithConfigurations(message));
        }
    }

    /// <summary>An entry, or a snapshot, holds this configuration.</summary>
    public void Define(GroupConfiguration configuration, LogPosition holder) =>
        _configurations[holder] = configuration;

    /// <summary>A snapshot at a committed entry holds the members that are in force there.</summary>
    public void DefineSnapshot(LogPosition position)
    {
        var inForce = _configurations
            .Where(held => held.Key.Index <= position.Index && IsApplied(held.Key))
            .MaxBy(static held => held.Key.Index).Value;
        Define(inForce, position);
    }

    /// <summary>Delivers everything, and what it causes, until all is quiet.</summary>
    public void Settle()
    {
        while (_network.Count > 0)
        {
            Deliver([.. _network]);
        }
    }

    /// <summary>
    /// Election safety: at most one leader a term. Leader completeness: a leader's log holds all that was committed.
    /// </summary>
    public void CheckLeader(ScriptNode leader)
    {
        if (leader.Node.Role != RaftRole.Leader)
        {
            return;
        }

        _leaders.TryAdd(leader.Node.Term, leader.Id);
        Assert.True(_leaders[leader.Node.Term] == leader.Id, $"term {leader.Node.Term} has one leader");
        foreach (var (index, term) in _applied)
        {
            Assert.True(
                index < leader.Node.BaseIndex
                || (index <= leader.Node.LastIndex && leader.Node.TermAt(index) == term),
                $"leader {leader.Id} has the committed entry {index}/{term}");
        }
    }

    /// <summary>
    /// State machine safety: all nodes apply the same entries. What a leader applies is on the disks of a majority.
    /// </summary>
    public void CheckApplied(ScriptNode node, LogIndex index, Term term)
    {
        _applied.TryAdd(index, term);
        Assert.True(_applied[index] == term, $"node {node.Id} applies the same entry {index} as the others");
        Assert.True(node.HasDurable(index, term), $"what node {node.Id} applies is on its own disk");
        if (node.Node.Role == RaftRole.Leader)
        {
            var voters = node.Node.Configuration.Voters;
            var durable = voters.Count(voter => this[voter.Value].HasDurable(index, term));
            Assert.True(durable > voters.Length / 2, $"the committed entry {index}/{term} is on a majority of disks");
        }
    }

    /// <summary>What the group began with counts as applied.</summary>
    private bool IsApplied(LogPosition position) =>
        position == LogPosition.None || _applied.GetValueOrDefault(position.Index) == position.Term;

    /// <summary>A caller finds the configurations among the bytes that travel with a message.</summary>
    private RaftMessage WithConfigurations(RaftMessage message)
    {
        var held = new List<GroupConfiguration>();
        for (var i = 0; i < message.EntryCount; i++)
        {
            var entry = new LogPosition(message.LogIndex + (i + 1), message.EntryTerms[i]);
            if (entry.Index > LogIndex.None && _configurations.TryGetValue(entry, out var configuration))
            {
                held.Add(configuration);
            }
        }

        if (message.Kind == RaftMessageKind.InstallSnapshot)
        {
            held.Add(_configurations[new LogPosition(message.LogIndex, message.LogTerm)]);
        }

        return held.Count == 0 ? message : new RaftMessage
        {
            Kind = message.Kind,
            From = message.From,
            To = message.To,
            Term = message.Term,
            LogIndex = message.LogIndex,
            LogTerm = message.LogTerm,
            CommitIndex = message.CommitIndex,
            EntryCount = message.EntryCount,
            EntryTerms = message.EntryTerms,
            Context = message.Context,
            LearnerSince = message.LearnerSince,
            Configurations = held,
        };
    }
}
