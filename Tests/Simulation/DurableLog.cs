using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// What completed writes have made durable on the disk of one node: no crash may take it away, and of what damage takes
/// away it remembers what the replica knows to lack.
/// </summary>
internal sealed class DurableLog(SimulatedNode node, History history)
{
    private readonly List<Entry> _entries = [];

    /// <summary>What damage took away and the replica knows to lack, by its fence or as lost.</summary>
    private readonly Dictionary<LogIndex, Entry> _lost = [];

    /// <summary>What the last write cut off.</summary>
    private readonly Dictionary<LogIndex, Entry> _cut = [];

    public HardState HardState { get; private set; }

    public int Count => _entries.Count;

    public LogIndex LastIndex => new(_entries.Count);

    /// <summary>The first entry is at 0.</summary>
    public Entry this[int at] => _entries[at];

    public Entry? At(LogIndex index) =>
        index.Value >= 1 && index.Value <= _entries.Count ? _entries[(int)index.Value - 1] : null;

    public Entry? LostAt(LogIndex index) => _lost.TryGetValue(index, out var entry) ? entry : null;

    /// <summary>What was here until the last write cut it off.</summary>
    public Entry? CutAt(LogIndex index) => _cut.TryGetValue(index, out var entry) ? entry : null;

    public IEnumerable<Entry> Through(LogIndex last) => _entries.Take((int)last.Value);

    /// <summary>
    /// What had committed when its files were last damaged. A leader that hears of a loss makes it a learner by an
    /// entry behind that; one that names an older entry speaks of an older loss.
    /// </summary>
    public int CommittedAtLoss { get; set; }

    public void Note(HardState hardState)
    {
        World.Check(
            !HardState.IsLost || hardState.PassiveUntil.Value == 0 || hardState.PassiveUntil.Value > CommittedAtLoss,
            $"node {node.Id} takes an offer of before its loss: {hardState}, and {CommittedAtLoss} had committed");
        History.CheckHardState(node, HardState, hardState);
        HardState = hardState;
    }

    /// <summary>The vote is gone, and the replica knows it.</summary>
    public void LoseHardState(HardState left) => HardState = left;

    public void Add(LogEntry entry)
    {
        var identity = Entry.Identify(entry);
        Add(identity);
        history.CheckAppended(node, entry.Index, _entries[^1]);
        if (entry.Kind == EntryKind.Configuration
            && GroupConfiguration.TryDecode(entry.Body.Span, entry.Index, out var members))
        {
            history.NoteConfiguration(members);
            history.NoteMemberEntry(entry.Index, entry.Term);
        }
    }

    /// <summary>Raft's log may have lost these entries before; the disk loses them now.</summary>
    public void Cut(LogIndex last)
    {
        if (last.Value < _entries.Count)
        {
            _cut.Clear();
            for (var i = (int)last.Value; i < _entries.Count; i++)
            {
                _cut[new LogIndex(i + 1)] = _entries[i];
                history.CheckRemoved(node, new LogIndex(i + 1), _entries[i]);
            }

            _entries.RemoveRange((int)last.Value, _entries.Count - (int)last.Value);
        }
    }

    /// <summary>The snapshot stands for all committed entries up to its position.</summary>
    public void Install(LogPosition position, LogIndex knownMembers)
    {
        var last = position.Index;
        World.Check(
            last <= new LogIndex(history.Committed) && history.CommittedAt(last).Term == position.Term,
            $"node {node.Id} installs a snapshot at {position}, which has not committed");
        history.CheckMembersKnown(node, last, knownMembers);
        var removed = _entries.ToArray();
        _entries.Clear();
        for (var index = new LogIndex(1); index <= last; index = index.Next())
        {
            Add(history.CommittedAt(index));
        }

        for (var i = 0; i < removed.Length; i++)
        {
            if (i >= _entries.Count || removed[i] != _entries[i])
            {
                history.CheckRemoved(node, new LogIndex(i + 1), removed[i]);
            }
        }
    }

    /// <summary>Damage took away what lies behind the first so many.</summary>
    public void Lose(int kept)
    {
        for (var i = kept; i < _entries.Count; i++)
        {
            _lost[new LogIndex(i + 1)] = _entries[i];
        }

        _entries.RemoveRange(kept, _entries.Count - kept);
    }

    /// <summary>Whether all that ever committed is here.</summary>
    public bool HasCommitted()
    {
        var committed = history.Committed;
        return _entries.Count >= committed
            && (committed == 0 || history.IsCommitted(new LogIndex(committed), _entries[committed - 1]));
    }

    /// <summary>
    /// A replica that is whole again must have what it had, as far as it was committed: from now on it votes for whom
    /// it likes.
    /// </summary>
    public void CheckLostIsBack()
    {
        foreach (var (index, entry) in _lost)
        {
            var isBack = !history.IsCommitted(index, entry)
                || (At(index) is { } durable && history.IsCommitted(index, durable));
            World.Check(isBack, $"node {node.Id} is whole again, but lacks committed entry {index}");
        }

        _lost.Clear();
    }

    public void ForgetLost() => _lost.Clear();

    private void Add(Entry entry)
    {
        var previous = _entries.Count == 0 ? 0 : _entries[^1].Chain;
        _entries.Add(Entry.After(previous, entry.Term, entry.Value, entry.SizeBytes));
    }
}
