using System.Diagnostics;

namespace Broker.AppHost.Resources;

/// <summary>Programs of this machine.</summary>
internal static class Programs
{
    public static string Find(string name, string package) =>
        Folders().Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
        ?? throw new StartException(
            $"No container runtime can be used, and the program '{name}' is not installed. "
            + $"On Debian and Ubuntu: apt-get install {package}");

    /// <summary>Runs it to its end. Throws with the program's output when it fails.</summary>
    public static async Task RunAsync(
        string program, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var (exitCode, output) = await TryRunAsync(program, arguments, cancellationToken);
        if (exitCode != 0)
        {
            throw new DistributedApplicationException($"{program} failed with exit code {exitCode}:\n{output}");
        }
    }

    public static async Task<(int ExitCode, string Output)> TryRunAsync(
        string program, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,

            // Another user, to whom it changes, may be unable to enter the present one.
            WorkingDirectory = "/",
        })!;
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
            var error = process.StandardError.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
            return (process.ExitCode, $"{await output}{await error}".Trim());
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    private static IEnumerable<string> Folders() =>
    [
        .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator), "/usr/bin", "/usr/sbin",

        // Debian keeps the server programs of each Postgres version in a folder of their own.
        .. Directory.Exists("/usr/lib/postgresql")
            ? Directory.EnumerateDirectories("/usr/lib/postgresql").OrderDescending().Select(one => $"{one}/bin")
            : [],
    ];
}
