using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The terms of a log's entries, kept as runs: its memory grows with elections, not with entries. The log begins after
/// its base, the last entry that was dropped; all up to it is committed (Raft thesis 5.1).
/// </summary>
internal sealed class RaftLog
{
    /// <summary>
    /// Indexes and terms rise strictly from run to run. The first run begins at the base and has its term, so there is
    /// always one.
    /// </summary>
    private readonly List<TermRun> _runs;

    /// <summary>What <see cref="TermsOf"/> gave last: mostly every follower is sent the same entries.</summary>
    private RepeatedTerm _lastRepeated = new(Term.None, 0);

    /// <param name="basePosition">The entry before the first; none for a log that has lost nothing.</param>
    /// <param name="lastIndex">The last entry, or the base when there is none.</param>
    /// <param name="runs">The terms of the entries after the base.</param>
    public RaftLog(LogPosition basePosition, LogIndex lastIndex, IReadOnlyList<TermRun> runs)
    {
        var baseIndex = basePosition.Index;
        Invariant.Check((baseIndex.Value == 0) == (basePosition.Term == Term.None), "a base has a term");
        Invariant.Check((lastIndex == baseIndex) == (runs.Count == 0), "a log has term runs when it has entries");
        Invariant.Check(runs.Count == 0 || runs[0].First == baseIndex.Next(), "a log begins after its base");
        _runs = [new TermRun(baseIndex, basePosition.Term)];
        foreach (var run in runs)
        {
            // Entries before and after the base may be of one term: then one run covers them.
            var continuesBase = _runs.Count == 1 && run.First == baseIndex.Next() && run.Term == basePosition.Term;
            var rises = run.First > _runs[^1].First && run.Term > _runs[^1].Term;
            Invariant.Check(
                (rises || (continuesBase && run.Term > Term.None)) && run.First <= lastIndex,
                "term runs rise within the log");
            if (!continuesBase)
            {
                _runs.Add(run);
            }
        }

        LastIndex = lastIndex;
    }

    /// <summary>The entry before the first.</summary>
    public LogPosition Base => new(_runs[0].First, _runs[0].Term);

    public LogIndex BaseIndex => _runs[0].First;

    public LogIndex LastIndex { get; private set; }

    public Term LastTerm => _runs[^1].Term;

    public LogIndex Append(Term term)
    {
        Invariant.Check(term >= LastTerm && term > Term.None, "terms never fall along a log");
        LastIndex = LastIndex.Next();
        if (term != LastTerm)
        {
            _runs.Add(new TermRun(LastIndex, term));
        }

        return LastIndex;
    }

    public void TruncateFrom(LogIndex index)
    {
        Invariant.Check(index > BaseIndex && index <= LastIndex, "a truncation lies within the log");
        LastIndex = index.Previous();
        while (_runs[^1].First > LastIndex)
        {
            _runs.RemoveAt(_runs.Count - 1);
        }
    }

    /// <summary>Drops the entries through an index, which becomes the base.</summary>
    public void CompactThrough(LogIndex index)
    {
        Invariant.Check(index >= BaseIndex && index <= LastIndex, "the new base lies within the log");
        var run = RunOf(index);
        _runs.RemoveRange(0, run);
        _runs[0] = new TermRun(index, _runs[0].Term);
    }

    /// <summary>Drops everything: the log continues after a base that came from elsewhere.</summary>
    public void Reset(LogPosition basePosition)
    {
        Invariant.Check(basePosition.Term > Term.None, "a base has a term");
        _runs.Clear();
        _runs.Add(new TermRun(basePosition.Index, basePosition.Term));
        LastIndex = basePosition.Index;
    }

    /// <summary>The term of an entry, or of the base; none at index 0.</summary>
    public Term TermAt(LogIndex index)
    {
        Invariant.Check(index >= BaseIndex && index <= LastIndex, "the entry lies within the log");
        return _runs[RunOf(index)].Term;
    }

    /// <summary>Whether an entry with this index and term is here, or is the base.</summary>
    public bool Contains(LogIndex index, Term term) =>
        index >= BaseIndex && index <= LastIndex && TermAt(index) == term;

    /// <summary>
    /// The last entry at or before an index whose term is at or before a term. Entries after it cannot agree with a log
    /// that has that term at that index, because terms never fall along a log; so one answer skips a whole run of terms
    /// (Raft paper 5.3). An answer below the base says only that the entries from the base on cannot agree.
    /// </summary>
    public LogIndex LastPossibleAgreement(LogIndex index, Term term)
    {
        index = LogIndex.Min(index, LastIndex);
        if (index < BaseIndex)
        {
            return index;
        }

        for (var run = RunOf(index); run >= 0; run--)
        {
            if (_runs[run].Term <= term)
            {
                return index;
            }

            index = _runs[run].First.Previous();
        }

        return BaseIndex.Previous();
    }

    /// <summary>Whether a candidate's log is at least as complete as this one (Raft thesis 3.6.1).</summary>
    public bool IsNoNewerThan(LogIndex lastIndex, Term lastTerm) =>
        lastTerm > LastTerm || (lastTerm == LastTerm && lastIndex >= LastIndex);

    /// <summary>The terms of a range, without a list when they are all the same, as they mostly are.</summary>
    public IReadOnlyList<Term> TermsOf(LogIndex first, int count)
    {
        if (count == 0)
        {
            return [];
        }

        var run = RunOf(first);
        if (run == _runs.Count - 1 || _runs[run + 1].First - first >= count)
        {
            if (_lastRepeated.Term != _runs[run].Term || _lastRepeated.Count != count)
            {
                _lastRepeated = new RepeatedTerm(_runs[run].Term, count);
            }

            return _lastRepeated;
        }

        var terms = new Term[count];
        for (var i = 0; i < count; i++)
        {
            if (run + 1 < _runs.Count && first + i >= _runs[run + 1].First)
            {
                run++;
            }

            terms[i] = _runs[run].Term;
        }

        return terms;
    }

    /// <summary>
    /// The last run that begins at or before an index, which is the base or after it. Most questions are about the last
    /// run.
    /// </summary>
    private int RunOf(LogIndex index)
    {
        var high = _runs.Count - 1;
        if (index >= _runs[high].First)
        {
            return high;
        }

        var low = 0;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_runs[middle].First <= index)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low - 1;
    }
}
