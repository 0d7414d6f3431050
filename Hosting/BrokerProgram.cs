using System.Reflection;
using System.Runtime.InteropServices;
using Aspire.Hosting;

namespace Broker.Hosting;

/// <summary>The broker that the package carries.</summary>
internal static class BrokerProgram
{
    private const string Key = "brokerprogram";

    /// <summary>
    /// The dotnet that runs this AppHost. Its own path is not that of this process, which may have a host of its own.
    /// </summary>
    public static string Runtime => Path.GetFullPath(
        Path.Combine("../../..", OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet"),
        RuntimeEnvironment.GetRuntimeDirectory());

    /// <summary>
    /// The package's build part writes the path into the AppHost's assembly: a file of the package folder, so that no
    /// copy of it is made for each build.
    /// </summary>
    public static FileInfo Find(IDistributedApplicationBuilder builder)
    {
        var path = builder.AppHostAssembly?.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(static one => one.Key == Key)?.Value;
        var program = path is null ? null : new FileInfo(path);
        return program is { Exists: true } ? program : throw new DistributedApplicationException(path is null
            ? "This AppHost does not say where the broker is. It must name the package Broker.Aspire.Hosting itself "
                + "(PackageReference, or #:package in a file), with its build assets."
            : $"The broker is not at {path}: the package Broker.Aspire.Hosting has been removed from this machine, or "
                + "the AppHost was built on another one. Build it again.");
    }
}
