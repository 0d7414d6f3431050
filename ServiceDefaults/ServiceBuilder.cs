using Microsoft.AspNetCore.Builder;

namespace Broker.ServiceDefaults;

/// <summary>Where every service begins.</summary>
public static class ServiceBuilder
{
    // ASP.NET Core watches the folder of appsettings.json and all below it, data and logs included: each write there
    // would wake a thread. Settings are read at the start, and only then.
    private const string WatchNothing = "--hostBuilder:reloadConfigOnChange=false";

    /// <summary>ASP.NET Core's builder, which reads the settings once and watches no file.</summary>
    /// <param name="args">The process's arguments; they win over everything.</param>
    /// <returns>The builder.</returns>
    public static WebApplicationBuilder Create(string[] args) => WebApplication.CreateBuilder([WatchNothing, .. args]);
}
