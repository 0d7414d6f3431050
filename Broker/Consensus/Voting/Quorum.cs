using Broker.Domain;

namespace Broker.Consensus;

/// <summary>What a majority of voters is, and what it has in common (Raft thesis 3.4, 3.5).</summary>
internal static class Quorum
{
    /// <summary>Any two majorities of the same voters have a voter in common.</summary>
    public static int Majority(int voters) => (voters / 2) + 1;

    /// <summary>The highest value that a majority has reached, of one value a voter. Sorts them.</summary>
    public static long ReachedByMajority(Span<long> values)
    {
        Invariant.Check(values.Length > 0, "nobody has no majority");
        values.Sort();
        return values[values.Length - Majority(values.Length)];
    }
}
