using System.Runtime.InteropServices;
using System.Text;

namespace Broker.State;

/// <summary>
/// A running hash of everything that a state machine did, in order: replicas that did the same have the same value. It
/// is compared for equality only, between replicas of one version, so its mixing may change with a version.
/// </summary>
internal struct StateHasher(ulong value)
{
    // 2^64 divided by the golden ratio, made odd: the multiplier of Fibonacci hashing (Knuth, volume 3, 6.4).
    private const ulong Multiplier = 0x9E3779B97F4A7C15;

    private ulong _value = value;

    /// <summary>Readable by any thread.</summary>
    public readonly ulong Value => Volatile.Read(in _value);

    public void Add(ulong value)
    {
        var mixed = (_value ^ value) * Multiplier;
        Volatile.Write(ref _value, mixed ^ (mixed >> 32));
    }

    public void Add(long value) => Add((ulong)value);

    public void Add(string text) => Add(StableHash.Compute(Encoding.UTF8.GetBytes(text)));

    public void Add(Guid id)
    {
        Span<ulong> halves = stackalloc ulong[2];
        id.TryWriteBytes(MemoryMarshal.AsBytes(halves));
        Add(halves[0]);
        Add(halves[1]);
    }
}
