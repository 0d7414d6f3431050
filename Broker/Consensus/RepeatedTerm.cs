using System.Collections;
using Broker.Domain;

namespace Broker.Consensus;

/// <summary>The terms of entries that all have the same one.</summary>
internal sealed class RepeatedTerm(Term term, int count) : IReadOnlyList<Term>
{
    public int Count { get; } = count;

    public Term this[int index] =>
        index >= 0 && index < Count ? term : throw new ArgumentOutOfRangeException(nameof(index), index, null);

    public IEnumerator<Term> GetEnumerator() => Enumerable.Repeat(term, Count).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
