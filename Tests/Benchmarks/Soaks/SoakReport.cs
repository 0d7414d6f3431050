namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>What a soak found wrong: each kind is counted, and the first few are told.</summary>
internal sealed class SoakReport
{
    private const int Told = 10;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, long> _counts = [];

    /// <summary>One more of a kind.</summary>
    /// <param name="kind">A sentence without its subject, for the sum.</param>
    /// <param name="detail">This very one.</param>
    public void Wrong(string kind, string detail)
    {
        lock (_lock)
        {
            var count = _counts[kind] = _counts.GetValueOrDefault(kind) + 1;
            if (count <= Told)
            {
                Console.Error.WriteLine($"WRONG: {kind}: {detail}");
            }
        }
    }

    /// <summary>Says so at the end.</summary>
    /// <returns>The exit code.</returns>
    public int Close(string allIsWell)
    {
        lock (_lock)
        {
            foreach (var (kind, count) in _counts)
            {
                Console.WriteLine($"WRONG: {kind}: {count:N0}");
            }

            Console.WriteLine(_counts.Count == 0 ? allIsWell : "The soak FAILED.");
            return _counts.Count == 0 ? 0 : 1;
        }
    }
}
