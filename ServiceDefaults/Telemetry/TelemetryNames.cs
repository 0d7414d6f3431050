namespace Broker.ServiceDefaults.Telemetry;

/// <summary>The sources that a service's telemetry is made of: .NET's own, Npgsql's and the broker's.</summary>
internal static class TelemetryNames
{
    public static readonly string[] Meters =
    [
        "Microsoft.AspNetCore.Hosting",
        "Microsoft.AspNetCore.Server.Kestrel",
        "System.Net.Http",
        "System.Runtime",
        "Npgsql",
        "Broker.*",
    ];

    public static readonly string[] ActivitySources =
    [
        "Microsoft.AspNetCore",
        "System.Net.Http",
        "Npgsql",
        "Broker.*",
    ];
}
