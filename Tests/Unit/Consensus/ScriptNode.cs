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

    private readonly Queue<Write> _writes = new();
    private List<Term> _disk = [];
    private HardState _hardState;
    private RaftNode? _node;
    private long _nowMs;

    public NodeId Id => options.Id;

    public bool IsUp => _node is not null;

    public RaftNode Node => _node ?? throw new InvalidDataException($"node {Id} is down");

    /// <summary>Writes wait until the scene finishes them.</summary>
    public bool HoldsWrites { get; set; }

    public LogIndex Applied { get; private set; }

    public bool HasDurable(LogIndex index, Term term) =>
        index.Value <= _disk.Count && _disk[(int)index.Value - 1] == term;

    /// <summary>What is on the disk before the node starts.</summary>
    public void Prepare(HardState hardState, IEnumerable<Term> log)
    {
        _hardState = hardState;
        _disk = [.. log];
    }

    public void Start()
    {
        Assert.False(IsUp, $"node {Id} is up already");
        var runs = new List<TermRun>();
        for (var i = 0; i < _disk.Count; i++)
        {
            if (i == 0 || _disk[i] != _disk[i - 1])
            {
                runs.Add(new TermRun(new LogIndex(i + 1), _disk[i]));
            }
        }

        var initial = new RaftInitialState
        {
            HardState = _hardState,
            LastIndex = new LogIndex(_disk.Count),
            TermRuns = runs,
        };
        _node = new RaftNode(options, initial, _ => EntryBytes, new ScriptRandom(Id.Value), _nowMs);
        Applied = LogIndex.None;
    }

    /// <summary>Loses what was not durable. What was sent is still on its way.</summary>
    public void Crash()
    {
        _node = null;
        _writes.Clear();
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
            return $"{Id} is down; on disk: term {_hardState.Term} vote {_hardState.VotedFor}"
                + $" log {ScriptText.Entries(new LogIndex(1), _disk)}";
        }

        var status = $"{Id} {Node.Role} t{Node.Term} vote {Node.VotedFor} leader {Node.Leader}"
            + $" log {ScriptText.Entries(new LogIndex(1), TermsOf(new LogIndex(1), Node.LastIndex))}"
            + $" flushed {Node.FlushedIndex} commit {Node.CommitIndex}";
        return Node.Followers.Aggregate(status, static (text, follower) =>
            $"{text} | {follower.NodeId} match {follower.MatchIndex} next {follower.NextIndex}"
            + (follower.RecentlyActive ? "" : " silent"));
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
            _writes.Enqueue(new Write(
                ready.PersistSequence, ready.HardState, ready.TruncateFrom, ready.AppendFirst, terms));
            world.Trace($"{Id} writes #{ready.PersistSequence}:{Describe(ready, terms)}");
        }

        foreach (var message in ready.Messages)
        {
            world.Trace($"{Id} sends {ScriptText.Describe(message)}");
            world.Send(message);
        }

        if (ready.CommitIndex > Applied)
        {
            world.Trace($"{Id} commits {ready.CommitIndex}");
            for (var index = Applied.Next(); index <= ready.CommitIndex; index = index.Next())
            {
                world.CheckApplied(this, index, Node.TermAt(index));
            }

            Applied = ready.CommitIndex;
        }
    }

    private static string Describe(Ready ready, List<Term> terms) =>
        (ready.HardState is { } state ? $" term {state.Term} vote {state.VotedFor}" : "")
        + (ready.TruncateFrom is { } from ? $" truncate from {from}" : "")
        + (terms.Count > 0 ? $" append {ScriptText.Entries(ready.AppendFirst, terms)}" : "")
        + (ready.Noop is { } noop ? $" no-op {noop}" : "");

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
        _hardState = write.HardState ?? _hardState;
        if (write.TruncateFrom is { } from && _disk.Count >= from.Value)
        {
            _disk.RemoveRange((int)from.Value - 1, _disk.Count - (int)from.Value + 1);
        }

        Assert.True(write.Terms.Count == 0 || write.First.Value == _disk.Count + 1, "entries follow one another");
        _disk.AddRange(write.Terms);
        Node.Persisted(write.Sequence);
    }

    private sealed record Write(
        long Sequence, HardState? HardState, LogIndex? TruncateFrom, LogIndex First, IReadOnlyList<Term> Terms);
}
