namespace Broker.Api;

/// <summary>
/// The names that are most like one that does not exist: mostly it is one of them, with a typing error. Two names are
/// as far apart as there are letters to change, insert, leave out, or swap with the next one (Damerau and Levenshtein,
/// no letter touched twice).
/// </summary>
internal static class NearestNames
{
    /// <summary>More are no help.</summary>
    public const int Most = 3;

    private const int MostChanges = 3;

    /// <summary>
    /// The nearest first; none that has more than a third of its letters wrong. Names of the broker's own are nobody's
    /// error.
    /// </summary>
    public static IReadOnlyList<string> Find(string name, IEnumerable<string> known)
    {
        var limit = Math.Clamp(name.Length / MostChanges, 1, MostChanges);
        var found = new List<(int Distance, string Name)>();
        var rows = new int[3][];
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = new int[name.Length + 1];
        }

        foreach (var other in known)
        {
            if (Math.Abs(other.Length - name.Length) <= limit && !other.StartsWith('$')
                && DistanceOf(name, other, limit, rows) is var distance && distance <= limit)
            {
                found.Add((distance, other));
            }
        }

        return [.. found.OrderBy(static each => each.Distance).ThenBy(static each => each.Name, StringComparer.Ordinal)
            .Take(Most).Select(static each => each.Name)];
    }

    /// <summary>Above the limit, some number above it.</summary>
    private static int DistanceOf(string name, string other, int limit, int[][] rows)
    {
        var (twoBefore, before, now) = (rows[0], rows[1], rows[2]);
        for (var at = 0; at <= name.Length; at++)
        {
            before[at] = at;
        }

        for (var line = 1; line <= other.Length; line++)
        {
            now[0] = line;
            var least = line;
            for (var at = 1; at <= name.Length; at++)
            {
                var isSame = name[at - 1] == other[line - 1];
                now[at] = Math.Min(
                    Math.Min(now[at - 1], before[at]) + 1, before[at - 1] + (isSame ? 0 : 1));
                if (at > 1 && line > 1 && name[at - 1] == other[line - 2] && name[at - 2] == other[line - 1])
                {
                    now[at] = Math.Min(now[at], twoBefore[at - 2] + 1);
                }

                least = Math.Min(least, now[at]);
            }

            if (least > limit)
            {
                return least;
            }

            (twoBefore, before, now) = (before, now, twoBefore);
        }

        return before[name.Length];
    }
}
