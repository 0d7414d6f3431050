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
