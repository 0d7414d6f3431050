using System.Diagnostics;
using System.Text.Json.Nodes;
using Xunit;

namespace Broker.Tests.Interop.Cli;

/// <summary>The command line as a shell runs it: a process of its own, with a home of its own.</summary>
internal sealed class CommandLineRun(params Uri[] servers) : IDisposable
{
    /// <summary>
    /// In its own folder: beside these tests it would lack what ASP.NET brings here, and the tool does not need.
    /// </summary>
    private static readonly string Program = Path.GetFullPath(Path.Combine(
        AppContext.BaseDirectory,
        "../../../../../Cli/bin",
        new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name,
        "net10.0/Broker.Cli.dll"));

    private readonly DirectoryInfo _home = Directory.CreateTempSubdirectory("broker-cli-");

    public string Home => _home.FullName;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    /// <summary>What it printed; it must have ended with 0.</summary>
    public async Task<string> DoneAsync(params string[] arguments) => await DoneAsync(arguments, input: null);

    public async Task<string> DoneAsync(string[] arguments, string? input)
    {
        var (code, output, error) = await RunAsync(arguments, input);
        Assert.True(code == 0, $"{string.Join(' ', arguments)} ended with {code}: {error}{output}");
        Assert.Equal("", error);
        return output;
    }

    public async Task<JsonNode> JsonAsync(params string[] arguments) =>
        JsonNode.Parse(await DoneAsync([.. arguments, "-o", "json"]))!;

    /// <summary>It must end with this code, and say this to people and nothing to programs.</summary>
    public async Task FailsAsync(int code, string words, params string[] arguments)
    {
        var (ended, output, error) = await RunAsync(arguments, input: null);
        Assert.Equal((code, ""), (ended, output));
        Assert.StartsWith("broker: ", error, StringComparison.Ordinal);
        Assert.Contains(words, error, StringComparison.Ordinal);
    }

    public async Task<(int Code, string Output, string Error)> RunAsync(string[] arguments, string? input)
    {
        using var process = Start(arguments);
        var (output, error) = (process.StandardOutput.ReadToEndAsync(Test), process.StandardError.ReadToEndAsync(Test));
        if (input is not null)
        {
            await process.StandardInput.WriteAsync(input);
        }

        process.StandardInput.Close();
        await process.WaitForExitAsync(Test);
        return (process.ExitCode, await output, await error);
    }

    /// <summary>One that goes on until it is ended.</summary>
    public Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Program, .. arguments])
        {
            RedirectStandardError = true,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            WorkingDirectory = Home,
        };
        start.Environment["XDG_CONFIG_HOME"] = Home;
        start.Environment.Remove("BROKER_CONTEXT");
        if (servers.Length > 0)
        {
            start.Environment["BROKER_SERVERS"] = string.Join(',', servers.Select(static server => server.ToString()));
        }
        else
        {
            start.Environment.Remove("BROKER_SERVERS");
        }

        return Process.Start(start)!;
    }

    public void Dispose() => _home.Delete(recursive: true);
}
