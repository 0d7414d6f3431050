namespace Broker.Tests.Unit.Tidy;

/// <summary>
/// The bugs that are planted under the simulator are patches, and a patch of code that has changed since finds nothing:
/// so each must still fit. (That it is found is a matter of hours, see PlantedBugs/run.)
/// </summary>
internal static class PlantedBugs
{
    public static IEnumerable<string> ThatDoNotFit() => ThatDoNotFit(SourceFile.Root());

    private static IEnumerable<string> ThatDoNotFit(string root) =>
        Directory.EnumerateFiles(Path.Combine(root, "Tests/Simulation/PlantedBugs"), "*.patch")
            .Order(StringComparer.Ordinal)
            .SelectMany(patch => Misfits(
                File.ReadAllLines(patch), path => File.ReadAllLines(Path.Combine(root, path)))
                .Select(misfit => $"{Path.GetFileName(patch)}: {misfit}"));

    /// <summary>The hunks whose old lines stand nowhere in their file.</summary>
    public static List<string> Misfits(string[] patch, Func<string, string[]> read)
    {
        var misfits = new List<string>();
        var lines = Array.Empty<string>();
        for (var i = 0; i < patch.Length; i++)
        {
            if (patch[i].StartsWith("--- a/", StringComparison.Ordinal))
            {
                lines = read(patch[i]["--- a/".Length..]);
            }
            else if (patch[i].StartsWith("@@", StringComparison.Ordinal))
            {
                var old = patch.Skip(i + 1)
                    .TakeWhile(static line => line.Length == 0 || line[0] is ' ' or '-' or '+')
                    .TakeWhile(static line => !line.StartsWith("--- a/", StringComparison.Ordinal))
                    .Where(static line => line.Length == 0 || line[0] != '+')
                    .Select(static line => line.Length == 0 ? line : line[1..])
                    .ToArray();
                if (lines.AsSpan().IndexOf(old) < 0)
                {
                    misfits.Add($"line {i + 1}");
                }
            }
        }

        return misfits;
    }
}
