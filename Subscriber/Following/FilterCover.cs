namespace Subscriber.Following;

/// <summary>
/// Which filters can be left out because others match all that they match, so that no message is sent twice for it.
/// </summary>
internal static class FilterCover
{
    /// <summary>The filters without those that another one covers.</summary>
    public static List<string> Reduce(IReadOnlyCollection<string> filters) => filters
        .Distinct(StringComparer.Ordinal)
        .Where(filter => !filters.Any(
            other => !string.Equals(other, filter, StringComparison.Ordinal) && Covers(other, filter)))
        .ToList();

    /// <summary>Whether every topic that the narrow filter matches is matched by the wide one.</summary>
    public static bool Covers(string wide, string narrow)
    {
        var (left, right) = (wide.Split('.'), narrow.Split('.'));
        for (var i = 0; i < left.Length; i++)
        {
            if (i >= right.Length)
            {
                return false;
            }

            if (left[i] == ">")
            {
                return true;
            }

            var covered = left[i] == right[i] || (left[i] == "*" && right[i] != ">");
            if (!covered)
            {
                return false;
            }
        }

        return left.Length == right.Length;
    }
}
