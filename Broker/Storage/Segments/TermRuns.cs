using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Where the log's terms begin. Terms change seldom, so each change makes a new array that readers keep as long as they
/// like.
/// </summary>
internal sealed class TermRuns
{
    private TermRun[] _runs = [];

    public IReadOnlyList<TermRun> Current => Volatile.Read(ref _runs);

    public void Append(LogIndex index, Term term)
    {
        if (_runs.Length == 0 || _runs[^1].Term != term)
        {
            Volatile.Write(ref _runs, [.. _runs, new TermRun(index, term)]);
        }
    }

    /// <summary>The term of an entry of the log.</summary>
    public Term TermOf(LogIndex index)
    {
        var runs = Current;
        var run = runs.Count - 1;
        while (run >= 0 && runs[run].First > index)
        {
            run--;
        }

        Invariant.Check(run >= 0, "every entry of the log has a term");
        return runs[run].Term;
    }

    /// <summary>The runs of these entries of the log, the first one beginning with them.</summary>
    public IReadOnlyList<TermRun> Between(LogIndex first, LogIndex last)
    {
        var between = new List<TermRun>();
        foreach (var run in Current)
        {
            if (run.First > last)
            {
                break;
            }

            if (run.First <= first)
            {
                between.Clear();
            }

            between.Add(new TermRun(LogIndex.Max(run.First, first), run.Term));
        }

        return between;
    }

    /// <summary>Forgets the terms of the entries up to this one; <paramref name="last"/> is the log's end.</summary>
    public void DropThrough(LogIndex dropped, LogIndex last) =>
        Volatile.Write(ref _runs, dropped < last ? [.. Between(dropped.Next(), last)] : []);

    /// <summary>The whole log is replaced.</summary>
    public void Clear() => Volatile.Write(ref _runs, []);

    public void CutFrom(LogIndex from)
    {
        var kept = _runs.Length;
        while (kept > 0 && _runs[kept - 1].First >= from)
        {
            kept--;
        }

        if (kept < _runs.Length)
        {
            Volatile.Write(ref _runs, _runs[..kept]);
        }
    }
}
