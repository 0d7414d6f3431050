using System.Diagnostics;
using Microsoft.Extensions.Configuration;

namespace Broker.AppHost.Resources;

/// <summary>
/// Whether this machine can run containers: a client alone, as Docker's without its engine, is not enough.
/// </summary>
internal static class ContainerRuntime
{
    private const string RuntimeSetting = "ASPIRE_CONTAINER_RUNTIME";

    /// <summary>An engine that does not answer within this time is of no use to a developer who waits.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>The setting Servers, and where it leaves it open, whether an engine answers.</summary>
    public static bool IsWanted(IConfiguration configuration)
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

        string[] clients = configuration[RuntimeSetting] is { Length: > 0 } chosen ? [chosen] : ["docker", "podman"];
        if (clients.FirstOrDefault(Answers) is { } client)
        {
            configuration[RuntimeSetting] = client;
            return true;
        }

        return servers == "auto" ? false : throw new StartException(
            $"Servers is 'containers', but no container runtime answers ({string.Join(", ", clients.Select(
                one => $"'{one} info'"))} fails). Start it, or use --Servers=programs.");
    }

    private static bool Answers(string client)
    {
        try
        {
            using var info = Process.Start(new ProcessStartInfo(client, ["info"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            info.BeginOutputReadLine();
            info.BeginErrorReadLine();
            if (info.WaitForExit(Patience))
            {
                return info.ExitCode == 0;
            }

            info.Kill();
            return false;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            // It is not installed.
            return false;
        }
    }
}
