using System.Diagnostics;
using System.Text;

namespace Broker.Tests.Demo;

/// <summary>Real input: Debian's package index, as paragraphs of "Field: value" lines (deb822).</summary>
public static class PackageIndex
{
    /// <summary>Every package that apt knows of, about 60,000 records.</summary>
    public static async Task<IReadOnlyList<PackageRecord>> ReadAvailableAsync(CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo("apt-cache", "dumpavail")
        {
            RedirectStandardOutput = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        using var process = Process.Start(start)
            ?? throw new InvalidOperationException("apt-cache does not start; this demo needs Debian's apt.");
        var records = await ReadAsync(process.StandardOutput, cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0 && records.Count > 0
            ? records
            : throw new InvalidOperationException(
                $"'apt-cache dumpavail' gave {records.Count} records and exit code {process.ExitCode}. "
                + "Run 'apt-get update' first.");
    }

    /// <summary>The packages that are installed on this machine, a few hundred records.</summary>
    public static async Task<IReadOnlyList<PackageRecord>> ReadInstalledAsync(CancellationToken cancellationToken)
    {
        using var reader = new StreamReader("/var/lib/dpkg/status", Encoding.UTF8);
        return await ReadAsync(reader, cancellationToken);
    }

    public static async Task<IReadOnlyList<PackageRecord>> ReadAsync(
        TextReader reader, CancellationToken cancellationToken)
    {
        var records = new List<PackageRecord>();
        var text = new StringBuilder();
        string? package = null;
        string? section = null;
        while (true)
        {
            var line = await reader.ReadLineAsync(cancellationToken);
            if (string.IsNullOrEmpty(line))
            {
                if (package is not null)
                {
                    records.Add(new PackageRecord(TopicOf(section), package, text.ToString()));
                }

                text.Clear();
                (package, section) = (null, null);
                if (line is null)
                {
                    return records;
                }

                continue;
            }

            text.Append(line).Append('\n');
            package ??= ValueOf(line, "Package: ");
            section ??= ValueOf(line, "Section: ");
        }
    }

    /// <summary>"contrib/net" becomes "debian.contrib.net"; a record without a section goes to "debian.none".</summary>
    private static string TopicOf(string? section) => "debian." + (section ?? "none").Trim().Replace('/', '.');

    private static string? ValueOf(string line, string field) =>
        line.StartsWith(field, StringComparison.Ordinal) ? line[field.Length..].Trim() : null;
}
