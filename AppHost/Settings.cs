using System.Net.NetworkInformation;
using Broker.AppHost.Resources;
using Broker.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace Broker.AppHost;

/// <summary>
/// What the user may choose, as <c>--Name=value</c> or as an environment variable: <c>DataRoot</c>, <c>Servers</c>,
/// <c>Subscriber:Subjects</c>.
/// </summary>
/// <param name="IsPublishing">The system is written down for somewhere else; nothing is started here.</param>
/// <param name="HasDashboard">Somebody looks on: the dashboard runs, and addresses are printed.</param>
/// <param name="DataRoot">Where everything keeps its data here, each in a folder of its own.</param>
/// <param name="UseContainers">
/// Redis, Postgres and Prometheus run in containers; always so in what is published.
/// </param>
/// <param name="Subjects">What the subscriber listens to.</param>
internal sealed record Settings(
    bool IsPublishing, bool HasDashboard, string DataRoot, bool UseContainers, string Subjects)
{
    private const string Usage = """
        Settings: --DataRoot=FOLDER, --Servers=auto|containers|programs, --Subscriber:Subjects=SUBJECT (./run --help).
        """;

    private static readonly string[] Own = ["DataRoot", "Servers", "Subscriber:Subjects"];

    /// <summary>What Aspire takes from the command line, and azd, the Aspire CLI and IDEs give.</summary>
    private static readonly string[] OfAspire =
    [
        "operation", "publisher", "step", "list-steps", "output-path", "log-level", "include-exception-details",
        "environment", "clear-cache", "deploy", "dcp-cli-path", "dcp-container-runtime", "dcp-dependency-check-timeout",
        "dcp-dashboard-path",
    ];

    private static readonly string[] SectionsOfAspire =
        ["AppHost:", "Dashboard:", "DcpPublisher:", "Logging:", "Parameters:", "Pipeline:", "Publishing:", "ASPIRE_",
         "ASPNETCORE_", "DOTNET_"];

    /// <summary>Refuses what would be ignored otherwise: misspelt names, and words that belong to no name.</summary>
    public static string[] CheckNames(string[] args)
    {
        for (var i = 0; i < args.Length; i++)
        {
            var (argument, hasName) = (args[i], args[i].StartsWith("--", StringComparison.Ordinal));
            var name = hasName ? argument[2..].Split('=')[0] : "";
            if (!hasName || !IsKnown(name))
            {
                throw new StartException(
                    $"There is no {(hasName ? "setting" : "argument")} '{argument}'. {Usage}",
                    StartException.WrongSetting);
            }

            if (!argument.Contains('=', StringComparison.Ordinal)
                && (++i == args.Length || args[i].StartsWith("--", StringComparison.Ordinal)))
            {
                throw new StartException(
                    $"The setting '{argument}' has no value. {Usage}", StartException.WrongSetting);
            }
        }

        return args;

        static bool IsKnown(string name) => Own.Concat(OfAspire).Contains(name, StringComparer.OrdinalIgnoreCase)
            || SectionsOfAspire.Any(section => name.StartsWith(section, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>Takes the data folder for this run, too.</summary>
    public static async Task<Settings> ReadAsync(IDistributedApplicationBuilder builder)
    {
        SetDefaults(builder.Configuration);
        var subjects = builder.Configuration["Subscriber:Subjects"] ?? ">";
        if (!TopicFilter.TryParse(subjects, out _, out var reason))
        {
            throw new StartException(
                $"Subscriber:Subjects is '{subjects}'. {reason}", StartException.WrongSetting);
        }

        if (builder.ExecutionContext.IsPublishMode)
        {
            return new Settings(IsPublishing: true, HasDashboard: false, DataRoot: ".", UseContainers: true, subjects);
        }

        // Tests run without the dashboard, and are known by this.
        var hasDashboard = builder.Configuration["DcpPublisher:RandomizePorts"] != "true";
        if (hasDashboard)
        {
            CheckDashboardPorts(builder.Configuration["ASPNETCORE_URLS"]!);
        }

        var useContainers = await ContainerRuntime.IsWantedAsync(builder.Configuration);
        var folder = await DataFolder.OpenAsync(builder.Configuration["DataRoot"]);
        builder.Services.AddHostedService(_ => folder);
        return new Settings(IsPublishing: false, hasDashboard, folder.FullName, useContainers, subjects);
    }

    /// <summary>Where a server keeps what is its own.</summary>
    public string Folder(string name) => Path.Combine(DataRoot, name);

    /// <summary>
    /// On a port that is taken the dashboard would fail, unseen, and its address would lead to somebody else.
    /// </summary>
    private static void CheckDashboardPorts(string addresses)
    {
        foreach (var address in addresses.Split(';'))
        {
            var port = Uri.TryCreate(address, UriKind.Absolute, out var url) ? url.Port : throw new StartException(
                $"ASPNETCORE_URLS is '{address}'; it must be an address such as http://localhost:0.",
                StartException.WrongSetting);
            var listeners = IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners();
            if (port != 0 && listeners.Any(listener => listener.Port == port))
            {
                throw new StartException(
                    $"The dashboard's port {port} is taken by another program. Stop that, or start without a launch "
                    + "profile and with ASPNETCORE_URLS=http://localhost:0, as ./run does: it takes a free port.");
            }
        }
    }

    /// <summary>
    /// They stand here and not in appsettings.json, which is found only when AppHost/ is the working directory. What a
    /// launch profile or the environment says wins.
    /// </summary>
    private static void SetDefaults(ConfigurationManager configuration)
    {
        // Everything listens on loopback only, and there is no certificate that a browser would trust. The launch
        // profile names the dashboard's port; without it a free one is taken.
        configuration["ASPIRE_ALLOW_UNSECURED_TRANSPORT"] ??= "true";
        configuration["ASPNETCORE_URLS"] ??= "http://localhost:0";

        // AppHost ends when all that it started has ended, not before.
        configuration["DcpPublisher:WaitForResourceCleanup"] ??= "true";
        configuration["Logging:LogLevel:Aspire.Hosting.Dcp"] ??= "Warning";
        configuration["Logging:LogLevel:Microsoft.AspNetCore"] ??= "Warning";

        // Its keys protect nothing here: there are no cookies but those of the dashboard, which has keys of its own.
        configuration["Logging:LogLevel:Microsoft.AspNetCore.DataProtection"] ??= "Error";
    }
}
