using System.Diagnostics;

namespace Aspire.Hosting.Local;

/// <summary>Runs short programs to their end.</summary>
internal static class Tool
{
    /// <summary>Throws with the program's output when it fails.</summary>
    public static async Task RunAsync(
        string fileName, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var (exitCode, output) = await TryRunAsync(fileName, arguments, cancellationToken);
        if (exitCode != 0)
        {
            throw new DistributedApplicationException(
                $"{Path.GetFileName(fileName)} failed with exit code {exitCode}:\n{output}");
        }
    }

    public static async Task<(int ExitCode, string Output)> TryRunAsync(
        string fileName, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(EngineLimits.ToolTimeout);
        using var process = await LaunchThread.StartAsync(new ProcessStartInfo(fileName, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        });
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(timeout.Token);
            var error = process.StandardError.ReadToEndAsync(timeout.Token);
            await process.WaitForExitAsync(timeout.Token);
            return (process.ExitCode, $"{await output}{await error}".Trim());
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
