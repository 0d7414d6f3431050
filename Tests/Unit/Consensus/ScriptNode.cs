using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// A node of a scene with a disk in memory and a clock of its own. An entry is its index and term: together they name
/// it (log matching, Raft thesis 3.5).
/// </summary>
internal sealed class ScriptNode(RaftOptions options, ScriptWorld world)
{
    private const int EntryBytes = 100;

    private readonly Queue<ScriptWrite> _writes = new();
    private ScriptDisk _disk = new();
    private RaftNode? _node;
    private long _nowMs;
    private int _starts;

    public NodeId Id => options.Id;

    public bool IsUp => _node is not null;

    public RaftNode Node => _node ?? throw new InvalidDataException($"node {Id} is down");

    /// <summary>Writes wait until the scene finishes them.</summary>
    public bool HoldsWrites { get; set; }

    public LogIndex Applied { get; private set; }

    public bool HasDurable(LogIndex index, Term term) => _disk.Holds(index, term);

    /// <summary>What is on the disk before the node starts.</summary>
    public void Prepare(ScriptDisk disk) => _disk = disk;

    public void Start()
    {
        Assert.False(IsUp, $"node {Id} is up already");
        var random = new ScriptRandom(Id.Value, ++_starts);
        _node = new RaftNode(options, _disk.Recover(), _ => EntryBytes, random, _nowMs);
        Applied = _disk.Base.Index;
    }

    /// <summary>Loses what was not durable. What was sent is still on its way.</summary>
    public void Crash()
    {
        _node = null;
        _writes.Clear();
    }

    /// <summary>Crashes in the middle of its oldest write: the vote file is durable, the log is as it was.</summary>
    public void CrashTorn()
    {
        _disk.ApplyVoteFile(_writes.Peek());
        Crash();
    }

    /// <summary>
    /// Lets this node's clock run, and stops at each of its deadlines, so that no step size shows in a trace.
    /// </summary>
    public void Advance(long milliseconds)
    {
        var until = _nowMs + milliseconds;
        while (IsUp && Node.NextDeadlineMs <= until)
        {
            AdvanceToDeadline();
        }

        _nowMs = until;
        _node?.Tick(_nowMs);
    }

    public void AdvanceToDeadline()
    {
        var deadline = Node.NextDeadlineMs;
        _nowMs = Math.Max(_nowMs, deadline);
        Node.Tick(_nowMs);
        Assert.True(Node.NextDeadlineMs > deadline || Node.Role == RaftRole.Leader, "a deadline that is met moves on");
        Drain();
    }

    public ProposeResult Propose(int count)
    {
        for (var i = 0; i < count; i++)
        {
            var result = Node.TryPropose(EntryBytes, out _);
            if (result != ProposeResult.Accepted)
            {
                Drain();
                return result;
            }
        }

        Drain();
        return ProposeResult.Accepted;
    }

    public ProposeResult Change(MembershipChange change)
    {
        var result = Node.TryChangeConfiguration(change, out _);
        Drain();
        return result;
    }

    /// <summary>A snapshot at this index is durable; the log up to it goes.</summary>
    public void CompactThrough(LogIndex index)
    {
        var position = new LogPosition(index, Node.TermAt(index));
        world.DefineSnapshot(position);
        Node.CompactThrough(index);
        _disk.CompactThrough(index, position.Term);
        Drain();
    }

    public void Step(RaftMessage message)
    {
        Node.Step(message);
        Drain();
    }

    /// <summary>Takes and traces what the node has ready, until it has nothing more.</summary>
    public void Drain()
    {
        while (IsUp && Node.HasReady)
        {
            Take(Node.TakeReady());
            while (!HoldsWrites && _writes.Count > 0)
            {
                FinishWrite();
            }
        }
    }

    /// <summary>Makes the oldest write durable; false when none waits.</summary>
    public bool TryPersist()
    {
        if (_writes.Count == 0)
        {
            return false;
        }

        world.Trace($"{Id} has written #{_writes.Peek().Sequence}");
        FinishWrite();
        Drain();
        return true;
    }

    public string Status()
    {
        if (!IsUp)
        {
            return $"{Id} is down; on disk: {_disk}";
        }

        var first = Node.BaseIndex.Next();
        var status = $"{Id} {Node.Role} t{Node.Term} vote {Node.VotedFor} leader {Node.Leader}"
            + (Node.BaseIndex > LogIndex.None ? $" base {Node.BaseIndex}" : "")
            + $" log {ScriptText.Entries(first, TermsOf(first, Node.LastIndex))}"
            + $" flushed {Node.FlushedIndex} commit {Node.CommitIndex}"
            + (Node.Configuration.Index > LogIndex.None ? $" members {Node.Configuration}" : "")
            + (Node.IsFenced ? " fenced" : "") + (Node.IsPassive ? " passive" : "");
        return Node.Followers.Aggregate(status, static (text, follower) =>
            $"{text} | {follower.NodeId} match {follower.MatchIndex} next {follower.NextIndex}"
            + (follower.RecentlyActive ? "" : " silent") + (follower.IsLearner ? " learner" : "")
            + (follower.IsLost ? " lost" : ""));
    }

    private void Take(Ready ready)
    {
        if (ready.StateChanged)
        {
            world.Trace($"{Id} {Node.Role} t{Node.Term} leader {Node.Leader}");
            world.CheckLeader(this);
        }

        if (ready.PersistSequence != 0)
        {
            List<Term> terms = ready.HasEntries ? TermsOf(ready.AppendFirst, ready.AppendLast) : [];
            _writes.Enqueue(new ScriptWrite(ready, terms));
            world.Trace($"{Id} writes #{ready.PersistSequence}:{_writes.Last()}");
        }

        if (ready.AppendedConfiguration is { } configuration)
        {
            world.Define(configuration, new LogPosition(configuration.Index, Node.TermAt(configuration.Index)));
        }

        foreach (var message in ready.Messages)
        {
            world.Trace($"{Id} sends {ScriptText.Describe(message)}");
            world.Send(message);
        }

        foreach (var read in ready.Reads)
        {
            world.Trace($"{Id} read {read.Context}: " + (read.Refused ? "refused" : $"at {read.Index}"));
        }

        if (ready.CommitIndex > Applied)
        {
            world.Trace($"{Id} commits {ready.CommitIndex}");
            Apply(ready.CommitIndex);
        }
    }

    /// <summary>What a snapshot brought is applied with it.</summary>
    private void Apply(LogIndex commitIndex)
    {
        for (var index = LogIndex.Max(Applied, Node.BaseIndex).Next(); index <= commitIndex; index = index.Next())
        {
            world.CheckApplied(this, index, Node.TermAt(index));
        }

        Applied = commitIndex;
    }

    private List<Term> TermsOf(LogIndex first, LogIndex last)
    {
        var terms = new List<Term>();
        for (var index = first; index <= last; index = index.Next())
        {
            terms.Add(Node.TermAt(index));
        }

        return terms;
    }

    private void FinishWrite()
    {
        var write = _writes.Dequeue();
        _disk.Apply(write);
        Node.Persisted(write.Sequence);
    }
}
