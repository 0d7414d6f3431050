namespace Broker.Domain;

/// <summary>
/// A Raft term: a period with at most one leader (Raft thesis 3.3). Terms begin at 1; 0 means none. An election goes
/// one term on; a recovery that an operator forces goes far beyond all that any replica may have reached meanwhile, the
/// unreachable ones too: 16 bits, of which the sign is 0, count the recoveries, 16 name the node, 32 count elections.
/// </summary>
public readonly record struct Term(long Value) : IComparable<Term>
{
    public static readonly Term None;

    /// <summary>The forced recovery since which it is; 0: none. Rises with terms, and names the node.</summary>
    public long Recovery => Value >> 32;

    public Term Next() => new(Value + 1);

    /// <summary>The term of a recovery that is forced on a node which knows of this term.</summary>
    public Term OfRecovery(NodeId on) => new((((Value >> 48) + 1) << 48) | ((on.Value & 0xFFFFL) << 32));

    public int CompareTo(Term other) => Value.CompareTo(other.Value);

    public static bool operator <(Term left, Term right) => left.Value < right.Value;

    public static bool operator >(Term left, Term right) => left.Value > right.Value;

    public static bool operator <=(Term left, Term right) => left.Value <= right.Value;

    public static bool operator >=(Term left, Term right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
