using Broker.Domain;

namespace Broker.Consensus;

/// <summary>The terms of a log's entries, kept as runs: its memory grows with elections, not with entries.</summary>
internal sealed class RaftLog
{
    /// <summary>Indexes and terms rise strictly from run to run; the first run begins at 1.</summary>
    private readonly List<TermRun> _runs;

    public RaftLog(LogIndex lastIndex, IReadOnlyList<TermRun> runs)
    {
        Invariant.Check((lastIndex.Value == 0) == (runs.Count == 0), "a log has term runs when it has entries");
        Invariant.Check(runs.Count == 0 || runs[0].First.Value == 1, "a log begins at index 1");
        for (var i = 0; i < runs.Count; i++)
        {
            var before = i == 0 ? default : runs[i - 1];
            var rises = runs[i].First > before.First && runs[i].Term > before.Term;
            Invariant.Check(rises && runs[i].First <= lastIndex, "term runs rise within the log");
        }

        _runs = [.. runs];
        LastIndex = lastIndex;
    }

    public LogIndex LastIndex { get; private set; }

    public Term LastTerm => _runs.Count == 0 ? Term.None : _runs[^1].Term;

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
        Invariant.Check(index.Value >= 1 && index <= LastIndex, "a truncation lies within the log");
        LastIndex = index.Previous();
        while (_runs.Count > 0 && _runs[^1].First > LastIndex)
        {
            _runs.RemoveAt(_runs.Count - 1);
        }
    }

    /// <summary>The term of an entry; none before the first.</summary>
    public Term TermAt(LogIndex index)
    {
        Invariant.Check(index.Value >= 0 && index <= LastIndex, "the entry lies within the log");
        var run = RunOf(index);
        return run < 0 ? Term.None : _runs[run].Term;
    }

    /// <summary>Whether an entry with this index and term is here.</summary>
    public bool Contains(LogIndex index, Term term) => index <= LastIndex && TermAt(index) == term;

    /// <summary>
    /// The last entry at or before an index whose term is at or before a term. Entries after it cannot agree with a log
    /// that has that term at that index, because terms never fall along a log; so one answer skips a whole run of terms
    /// (Raft paper 5.3).
    /// </summary>
    public LogIndex LastPossibleAgreement(LogIndex index, Term term)
    {
        index = LogIndex.Min(index, LastIndex);
        for (var run = RunOf(index); run >= 0; run--)
        {
            if (_runs[run].Term <= term)
            {
                return index;
            }

            index = _runs[run].First.Previous();
        }

        return LogIndex.None;
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
            return new RepeatedTerm(_runs[run].Term, count);
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
    /// The last run that begins at or before an index; -1 for none. Most questions are about the last run.
    /// </summary>
    private int RunOf(LogIndex index)
    {
        var high = _runs.Count - 1;
        if (high < 0 || index >= _runs[high].First)
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
