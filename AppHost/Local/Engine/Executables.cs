namespace Aspire.Hosting.Local;

/// <summary>Finds programs.</summary>
internal static class Executables
{
    /// <summary>
    /// Debian keeps the server programs of each Postgres version in a folder of their own, outside PATH.
    /// </summary>
    private const string PostgresFolders = "/usr/lib/postgresql";

    public static string Find(string name, string debianPackage) =>
        TryFind(name) ?? throw new DistributedApplicationException(
        $"The program '{name}' is not installed. On Debian and Ubuntu: apt-get install {debianPackage}");

    public static string? TryFind(string name)
    {
        if (name.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            return File.Exists(name) ? name : null;
        }

        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        IEnumerable<string> system = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
        return path.Concat(system).Concat(PostgresBinaries())
            .Where(folder => folder.Length > 0)
            .Select(folder => Path.Combine(folder, name))
            .FirstOrDefault(File.Exists);
    }

    private static IEnumerable<string> PostgresBinaries() => Directory.Exists(PostgresFolders)
        ? Directory.EnumerateDirectories(PostgresFolders)
            .OrderByDescending(folder => int.TryParse(Path.GetFileName(folder), out var version) ? version : 0)
            .Select(folder => Path.Combine(folder, "bin"))
        : [];
}
