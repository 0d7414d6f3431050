using System.Reflection;
using System.Text.Json;
using Microsoft.Extensions.Configuration;

namespace Broker.AppHost.Resources;

/// <summary>
/// Whether this machine can run containers. Aspire's orchestrator says so: a client without its engine is not enough,
/// nor is one that is too old for it (Debian 12's Docker is).
/// </summary>
internal static class ContainerRuntime
{
    private const string RuntimeSetting = "ASPIRE_CONTAINER_RUNTIME";

    /// <summary>An engine that does not answer within this time is of no use to a developer who waits.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    /// <summary>The setting Servers, and where it leaves it open, whether an engine can be used.</summary>
    public static async Task<bool> IsWantedAsync(IConfiguration configuration)
    {
        var servers = configuration["Servers"]?.ToLowerInvariant() ?? "auto";
        if (servers is not ("auto" or "containers" or "programs"))
        {
            throw new StartException(
                $"Servers is '{configuration["Servers"]}'; it must be auto, containers or programs.",
                StartException.WrongSetting);
        }

        if (servers == "programs")
        {
            return false;
        }

        var reasons = new List<string>();
        foreach (var runtime in configuration[RuntimeSetting] is { Length: > 0 } chosen ? [chosen] : Known)
        {
            var reason = await WhyNotAsync(runtime, configuration);
            if (reason is null)
            {
                configuration[RuntimeSetting] = runtime;
                return true;
            }

            reasons.Add($"{runtime}: {reason}");
        }

        return servers == "auto" ? false : throw new StartException(
            $"Servers is 'containers', but no container runtime can be used ({string.Join("; ", reasons)}). "
            + "Start or install one, or use --Servers=programs.");
    }

    private static string[] Known => ["docker", "podman"];

    /// <summary>Null when it can be used.</summary>
    private static async Task<string?> WhyNotAsync(string runtime, IConfiguration configuration)
    {
        var orchestrator = configuration["DcpPublisher:CliPath"] ?? typeof(ContainerRuntime).Assembly
            .GetCustomAttributes<AssemblyMetadataAttribute>().Single(one => one.Key == "dcpclipath").Value!;
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            var (exitCode, output) = await Programs.TryRunAsync(
                orchestrator, ["info", "--container-runtime", runtime], patience.Token);
            return exitCode == 0 ? Read(output) : output;
        }
        catch (OperationCanceledException)
        {
            return $"it does not answer within {Patience.TotalSeconds} s";
        }
    }

    // {"version":"0.26.6",…,"containers":{"runtime":"docker","hostName":"host.docker.internal","installed":true,
    // "running":false,"error":"docker CLI version 20.10.24 is not supported; DCP requires …"}}
    private static string? Read(string info)
    {
        using var json = JsonDocument.Parse(info);
        var containers = json.RootElement.GetProperty("containers");
        return containers.GetProperty("installed").GetBoolean() && containers.GetProperty("running").GetBoolean()
            ? null
            : containers.TryGetProperty("error", out var error) && error.GetString() is { Length: > 0 } reason
                ? reason.ReplaceLineEndings(" ")
                : "it does not run";
    }
}
