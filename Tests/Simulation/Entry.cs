using Broker.Domain;
using Broker.State;

namespace Broker.Tests.Simulation;

/// <summary>
/// An entry of a simulated log. Chain is a hash over it and all entries before it: two logs with the same chain at an
/// index are equal up to there.
/// </summary>
internal readonly record struct Entry(Term Term, long Value, int SizeBytes, ulong Chain)
{
    /// <summary>The value of a no-op; clients count from 1.</summary>
    public const long NoopValue = 0;

    public static Entry After(ulong previousChain, Term term, long value, int sizeBytes)
    {
        var chain = Mix(Mix(Mix(previousChain) ^ (ulong)term.Value) ^ (ulong)value);
        return new Entry(term, value, sizeBytes, chain);
    }

    /// <summary>What two replicas must agree on of an entry, as one number.</summary>
    public static Entry Identify(LogEntry entry)
    {
        // An entry out of which something was taken is still the same.
        var (crc, bytes) = CommandSequence.WholeOf(entry);
        var value = entry.TimestampUnixMs ^ ((long)crc << 16) ^ ((long)entry.Kind << 56) ^ entry.Count;
        return new Entry(entry.Term, value, LogEntry.OverheadBytes + bytes, 0);
    }

    private static ulong Mix(ulong bits)
    {
        // The finalizer of SplitMix64: every bit of the input changes about half of the output's.
        bits += 0x9E3779B97F4A7C15;
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
        return bits ^ (bits >> 31);
    }
}
