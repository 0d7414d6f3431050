using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;
using Broker.Tests.EndToEnd.Deployment;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>It builds much, and has the machine for itself.</summary>
[CollectionDefinition(nameof(PackagesAlone), DisableParallelization = true)]
public sealed class PackagesAlone;

/// <summary>
/// What a user gets who has nothing but our packages: they are made, and the two programs in PackagesSolution/, which
/// README.md shows first, are built from them in another folder, and run.
/// </summary>
[Collection(nameof(PackagesAlone))]
public sealed class PackagesTests : IDisposable
{
    private static readonly TimeSpan CommandLimit = TimeSpan.FromMinutes(10);

    private static readonly string Sources =
        Path.Combine(PublishedSystem.Root, "Tests", "EndToEnd", "PackagesSolution");

    private static readonly string[] Programs = ["apphost.cs", "hello.cs", "reminders.cs"];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-packages-");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Solution => Path.Combine(_folder.FullName, "hello");

    private string Packages => Path.Combine(_folder.FullName, "feed");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task README_shows_these_programs()
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(PublishedSystem.Root, "README.md"), Cancel);
        Assert.All(Programs, program => Assert.Contains(
            File.ReadAllText(Path.Combine(Sources, program)), readme, StringComparison.Ordinal));
    }

    [Fact]
    public async Task From_nothing_but_the_packages_a_message_is_published_to_three_brokers_and_handled()
    {
        // New in each run, so that no package of an earlier one is taken for it; and of the kind that a user makes, of
        // which NuGet asks more than of one before a release.
        var version = $"0.1.{TimeProvider.System.GetUtcNow().ToUnixTimeSeconds()}";
        var configuration = typeof(PackagesTests).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!;
        await DotnetAsync(
            "/",
            "build",
            Path.Combine(PublishedSystem.Root, "deploy", "packages.proj"),
            "-nologo",
            "-warnaserror",
            $"-p:Configuration={configuration.Configuration}",
            $"-p:PackageVersion={version}",
            $"-p:PackageFolder={Packages}");
        Assert.Superset(
            new HashSet<string>
            {
                "Broker.Aspire.Hosting", "Broker.Cli", "Broker.Client", "Broker.Protocol", "Broker.Server",
                "Broker.Testing",
            },
            Directory.EnumerateFiles(Packages)
                .Select(file => Path.GetFileName(file).Replace($".{version}.nupkg", "", StringComparison.Ordinal))
                .ToHashSet());

        var port = ThreeFreePorts();
        await WriteSolutionAsync(version, port);
        await DotnetAsync(Solution, "build", "hello.cs", "-p:MSBuildTreatWarningsAsErrors=true");
        await DotnetAsync(Solution, "build", "apphost.cs", "-p:MSBuildTreatWarningsAsErrors=true", "-o", "built");
        await DotnetAsync(Solution, "build", "reminders.cs", "-p:MSBuildTreatWarningsAsErrors=true", "-o", "tests");
        Assert.Equal(
            (0, "two hours later: call\n"),
            await RunAsync(Path.Combine(Solution, "tests", "reminders"), Solution, []));
        await DotnetAsync(Solution, "tool", "install", "Broker.Cli", "--version", version, "--tool-path", "tool");

        var data = Directory.CreateDirectory(Path.Combine(_folder.FullName, "tmp"));
        await using var host = AppHostProcess.StartProgram(
            Path.Combine(Solution, "built", "apphost"),
            Solution,
            new Dictionary<string, string>
            {
                ["ASPNETCORE_URLS"] = "http://localhost:0",
                ["ASPIRE_ALLOW_UNSECURED_TRANSPORT"] = "true",
                ["TMPDIR"] = data.FullName,
            });
        await UntilHandledAsync(port, host);
        var (exitCode, nodes) = await BrokerAsync(port, "cluster", "status", "-o", "json");
        Assert.Equal(0, exitCode);
        Assert.All(["messaging-1", "messaging-2", "messaging-3"], name => Assert.Contains(name, nodes));

        var processes = host.Processes();
        Assert.Equal(3, processes.Count(one => RunningProcess.CommandLineOf(one.Id)
            .Contains("tools/broker/Broker.dll", StringComparison.Ordinal)));
        await host.SignalAsync("TERM", Cancel);
        Assert.Equal(0, await host.WaitForExitAsync(Cancel));
        await AppHostProcess.UntilAsync(
            () => !processes.Any(one => one.IsAlive),
            () => $"all have ended: {string.Join(", ", processes.Where(one => one.IsAlive))}",
            Cancel);
        Assert.Empty(data.EnumerateDirectories("broker-aspire-*"));
    }

    /// <summary>The group's consumer has settled the one message that there is.</summary>
    private async Task UntilHandledAsync(int port, AppHostProcess host)
    {
        for (var watch = Stopwatch.StartNew(); ; await Task.Delay(TimeSpan.FromMilliseconds(200), Cancel))
        {
            var (exitCode, output) = await BrokerAsync(port, "group", "info", "greetings", "-o", "json");
            if (exitCode == 0)
            {
                var progress = JsonDocument.Parse(output).RootElement.GetProperty("progress").EnumerateArray().ToList();
                if (progress.Count == 1 && progress[0].GetProperty("ack_floor").GetInt64() == 1)
                {
                    Assert.Equal("hello.world", progress[0].GetProperty("topic").GetString());
                    Assert.Equal("hello", JsonDocument.Parse(output).RootElement.GetProperty("consumers")
                        .EnumerateArray().Single().GetProperty("name").GetString());
                    return;
                }
            }

            Assert.True(
                watch.Elapsed < AppHostProcess.Patience,
                $"The message was not handled. The last answer: {output}\nAppHost printed:\n{host.Output}");
        }
    }

    private async Task WriteSolutionAsync(string version, int port)
    {
        Directory.CreateDirectory(Solution);
        foreach (var program in Programs)
        {
            var text = await File.ReadAllTextAsync(Path.Combine(Sources, program), Cancel);
            await File.WriteAllTextAsync(
                Path.Combine(Solution, program),
                Regex.Replace(text, @"(?<=#:package Broker\.[A-Za-z.]+@)[0-9.]+", version)
                    .Replace("port: 7001", $"port: {port}", StringComparison.Ordinal),
                Cancel);
        }

        // Packages of ours go into a folder of their own; all others may be on this machine already.
        var machine = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } set ? set : Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Directory.CreateDirectory(machine);
        await File.WriteAllTextAsync(
            Path.Combine(Solution, "nuget.config"),
            $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{_folder.FullName}/cache" /></config>
              <fallbackPackageFolders><add key="machine" value="{machine}" /></fallbackPackageFolders>
              <packageSources><add key="broker" value="{Packages}" /></packageSources>
            </configuration>
            """,
            Cancel);
    }

    private Task<(int ExitCode, string Output)> BrokerAsync(int port, params string[] arguments) => RunAsync(
        Path.Combine(Solution, "tool", "broker"),
        Solution,
        ["-s", string.Create(CultureInfo.InvariantCulture, $"http://localhost:{port}"), .. arguments]);

    private static async Task DotnetAsync(string folder, params string[] arguments)
    {
        var (exitCode, output) = await RunAsync("dotnet", folder, arguments);
        Assert.True(exitCode == 0, $"dotnet {string.Join(' ', arguments)}\n{output}");
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(
        string program, string folder, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // No build server of ours outlives the test.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment.Remove("NUGET_PACKAGES");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(CommandLimit);
        using var process = Process.Start(start)!;
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, await output + await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    /// <summary>One after the other, from the first on.</summary>
    private static int ThreeFreePorts()
    {
        while (true)
        {
            var ports = FreePorts.Take(3);
            if (ports[2] - ports[0] == 2 && ports[1] - ports[0] == 1)
            {
                return ports[0];
            }
        }
    }
}
