namespace Broker.Tests.Unit.Tidy;

/// <summary>
/// The bugs that are planted under the simulator are patches, and a patch of code that has changed since finds nothing:
/// so each must still fit. (That it is found is a matter of hours, see PlantedBugs/run.)
/// </summary>
internal static class PlantedBugs
{
    private const string Folder = "Tests/Simulation/PlantedBugs";

    public static IEnumerable<string> ThatDoNotFit() => ThatDoNotFit(SourceFile.Root());

    private static IEnumerable<string> ThatDoNotFit(string root) =>
        Directory.EnumerateFiles(Path.Combine(root, Folder), "*.patch")
            .Order(StringComparer.Ordinal)
            .SelectMany(patch => Misfits(
                File.ReadAllLines(patch), path => File.ReadAllLines(Path.Combine(root, path)))
                .Select(misfit => $"{Path.GetFileName(patch)}: {misfit}"));

    /// <summary>
    /// Patches that the page of their folder does not name with the seeds that they allow, and those that it names and
    /// that are not there.
    /// </summary>
    public static IEnumerable<string> ThatAreNotTold()
    {
        var folder = Path.Combine(SourceFile.Root(), Folder);
        var patches = Directory.EnumerateFiles(folder, "*.patch").Select(static patch =>
            (Path.GetFileNameWithoutExtension(patch), FieldOf(File.ReadAllLines(patch), "Seeds: ")));
        var rows = File.ReadLines(Path.Combine(folder, "README.md"))
            .Select(static line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(static cells => cells.Length == 7 && int.TryParse(cells[4], out _))
            .Select(static cells => (cells[1], cells[5]));
        var told = rows.ToHashSet();
        told.SymmetricExceptWith(patches);
        return told.Select(static bug => $"{bug.Item1}, {bug.Item2} seeds");
    }

    private static string FieldOf(string[] patch, string field) =>
        patch.First(line => line.StartsWith(field, StringComparison.Ordinal))[field.Length..];

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
