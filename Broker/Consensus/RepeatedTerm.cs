using System.Collections;
using Broker.Domain;

namespace Broker.Consensus;

/// <summary>The terms of entries that all have the same one.</summary>
internal sealed class RepeatedTerm(Term term, int count) : IReadOnlyList<Term>
{
    public Term Term { get; } = term;

    public int Count { get; } = count;

    public Term this[int index] =>
        index >= 0 && index < Count ? Term : throw new ArgumentOutOfRangeException(nameof(index), index, null);

    public IEnumerator<Term> GetEnumerator() => Enumerable.Repeat(Term, Count).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
