using System.Diagnostics;
using System.Text.RegularExpressions;
using Xunit;
using YamlDotNet.Serialization;

namespace Broker.Tests.EndToEnd.Deployment;

/// <summary>What the AppHost writes when it publishes, made by the program itself, as azd and a user run it.</summary>
public sealed class PublishedSystem : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-published-");

    /// <summary>The repository.</summary>
    public static string Root { get; } = Path.GetDirectoryName(Projects.AppHost.ProjectPath)!;

    public string ComposePath => Path.Combine(_folder.FullName, "compose.yaml");

    public string EnvPath => Path.Combine(_folder.FullName, ".env");

    public string Manifest { get; private set; } = "";

    /// <summary>As it stands in the file: a dollar sign that is meant is written twice.</summary>
    public string Compose { get; private set; } = "";

    public Dictionary<string, ComposeService> Services { get; private set; } = [];

    public IReadOnlyCollection<string> Volumes { get; private set; } = [];

    public async ValueTask InitializeAsync()
    {
        var manifest = Path.Combine(_folder.FullName, "manifest.json");
        await RunAppHostAsync("--publisher", "manifest", "--output-path", manifest);
        Manifest = await File.ReadAllTextAsync(manifest);
        await WriteComposeAsync();
        Compose = await File.ReadAllTextAsync(ComposePath);
        var document = new DeserializerBuilder().Build().Deserialize<Dictionary<string, object>>(Compose);
        Services = Map(document["services"]).ToDictionary(
            service => service.Key, service => new ComposeService(Map(service.Value)));
        Volumes = Map(document["volumes"]).Keys;
    }

    public Task WriteComposeAsync() => RunAppHostAsync(
        "--operation", "publish", "--step", "compose", "--output-path", _folder.FullName);

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    public static async Task<(int ExitCode, string Output)> RunAsync(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        using var timeout = new CancellationTokenSource(Patience);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(timeout.Token);
        var error = process.StandardError.ReadToEndAsync(timeout.Token);
        await process.WaitForExitAsync(timeout.Token);
        return (process.ExitCode, await output + await error);
    }

    internal static Dictionary<string, object> Map(object yaml) => ((Dictionary<object, object>)yaml).ToDictionary(
        pair => (string)pair.Key, pair => pair.Value);

    private static async Task RunAppHostAsync(params string[] arguments)
    {
        // Where the user stands, and what is set there, must not be seen in what is written.
        // Its own folder: here it would find some assemblies of the tests in other versions than its own.
        var folder = Path.GetRelativePath(Path.Combine(Root, "Tests", "EndToEnd"), AppContext.BaseDirectory);
        var program = Path.Combine(Root, "AppHost", folder, "AppHost.dll");
        var start = new ProcessStartInfo("dotnet", [program, .. arguments])
        {
            WorkingDirectory = "/",
        };
        var (exitCode, output) = await RunAsync(start);
        Assert.True(exitCode == 0, output);
    }
}

/// <summary>One service of compose.yaml.</summary>
public sealed partial class ComposeService(Dictionary<string, object> yaml)
{
    public string Image => (string)yaml["image"];

    public string Restart => (string)yaml["restart"];

    public IReadOnlyList<string> Command => List("command");

    public IReadOnlyList<string> HealthCheck =>
        yaml.TryGetValue("healthcheck", out var check) ? Strings(PublishedSystem.Map(check)["test"]) : [];

    public IReadOnlyList<string> Ports => List("ports");

    public IReadOnlyList<string> Volumes => List("volumes");

    public IReadOnlyDictionary<string, string> Environment { get; } =
        PublishedSystem.Map(yaml["environment"]).ToDictionary(pair => pair.Key, pair => (string)pair.Value);

    /// <summary>Names, each with its condition.</summary>
    public IReadOnlyDictionary<string, string> DependsOn => !yaml.TryGetValue("depends_on", out var all)
        ? new Dictionary<string, string>()
        : PublishedSystem.Map(all).ToDictionary(
            pair => pair.Key, pair => (string)PublishedSystem.Map(pair.Value)["condition"]);

    /// <summary>Where a program in it listens, told by what it is told itself.</summary>
    public IReadOnlySet<string> ListensAt => Image switch
    {
        _ when Image.Contains("/redis:", StringComparison.Ordinal) => new HashSet<string> { "6379" },
        _ when Image.Contains("/postgres:", StringComparison.Ordinal) => new HashSet<string> { "5432" },
        _ when Image.Contains("/prometheus:", StringComparison.Ordinal) => new HashSet<string> { "9090" },
        _ => Environment
            .Where(pair => pair.Key == "HTTP_PORTS" || pair.Key == "Broker__PeerPort"
                || pair.Key.EndsWith("__GrpcPort", StringComparison.Ordinal))
            .Select(pair => pair.Value).ToHashSet(),
    };

    /// <summary>Every host and port in what it is told: host:port, Host=...;Port=..., and variables in pairs.</summary>
    public IEnumerable<(string Host, string Port)> Addresses()
    {
        foreach (var text in Environment.Values.Concat(Command))
        {
            foreach (Match match in HostAndPort().Matches(text))
            {
                yield return (match.Groups["host"].Value, match.Groups["port"].Value);
            }
        }

        foreach (var (name, host) in Environment)
        {
            if (name.EndsWith("HOST", StringComparison.Ordinal)
                && Environment.TryGetValue(name[..^"HOST".Length] + "PORT", out var port))
            {
                yield return (host, port);
            }
        }
    }

    private IReadOnlyList<string> List(string key) => yaml.TryGetValue(key, out var list) ? Strings(list) : [];

    private static IReadOnlyList<string> Strings(object list) => [.. ((List<object>)list).Cast<string>()];

    [GeneratedRegex(
        "(?<![a-zA-Z0-9.$_-])(?<host>[a-z][a-z0-9-]*):(?<port>[0-9]{2,5})(?![0-9])|"
        + "Host=(?<host>[^;]+);Port=(?<port>[0-9]+)")]
    private static partial Regex HostAndPort();
}
