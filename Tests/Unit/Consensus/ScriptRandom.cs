namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Chance that a scene can count on: node n always draws the value (n - 1) tenths up its range. With the default
/// election timeouts node 1 waits 500 ms, node 2 550 ms, node 3 600 ms.
/// </summary>
internal sealed class ScriptRandom(int node, int start) : Random
{
    /// <summary>Ranges of this length are not times: something is given a name that differs from all others.</summary>
    private const long NameRange = 1L << 32;

    public override long NextInt64(long minValue, long maxValue) => maxValue - minValue > NameRange
        ? minValue + (100 * node) + start
        : minValue + ((maxValue - 1 - minValue) * Math.Min(node - 1, 10) / 10);
}
