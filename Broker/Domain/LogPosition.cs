namespace Broker.Domain;

/// <summary>
/// An entry's index and term: together they name the entry, and all before it (log matching, Raft thesis 3.5). Compared
/// as Raft compares logs: the later term first, then the longer log (3.6.1).
/// </summary>
public readonly record struct LogPosition(LogIndex Index, Term Term) : IComparable<LogPosition>
{
    /// <summary>Before the first entry.</summary>
    public static LogPosition None => default;

    public static bool operator <(LogPosition left, LogPosition right) => left.CompareTo(right) < 0;

    public static bool operator >(LogPosition left, LogPosition right) => left.CompareTo(right) > 0;

    public static bool operator <=(LogPosition left, LogPosition right) => left.CompareTo(right) <= 0;

    public static bool operator >=(LogPosition left, LogPosition right) => left.CompareTo(right) >= 0;

    public int CompareTo(LogPosition other) =>
        Term != other.Term ? Term.CompareTo(other.Term) : Index.CompareTo(other.Index);

    public override string ToString() => $"{Index}/{Term}";
}
