namespace Broker.Domain;

/// <summary>A Raft term: a period with at most one leader (Raft thesis 3.3). Terms begin at 1; 0 means none.</summary>
public readonly record struct Term(long Value) : IComparable<Term>
{
    public static readonly Term None;

    public Term Next() => new(Value + 1);

    public int CompareTo(Term other) => Value.CompareTo(other.Value);

    public static bool operator <(Term left, Term right) => left.Value < right.Value;

    public static bool operator >(Term left, Term right) => left.Value > right.Value;

    public static bool operator <=(Term left, Term right) => left.Value <= right.Value;

    public static bool operator >=(Term left, Term right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
