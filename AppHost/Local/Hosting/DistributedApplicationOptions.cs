namespace Aspire.Hosting;

/// <summary>How the application is built.</summary>
public sealed class DistributedApplicationOptions
{
    /// <summary>Command line arguments; they override configuration: <c>--DataRoot=/tmp/x</c>.</summary>
    public string[]? Args { get; set; }

    /// <summary>The assembly that describes the application; the entry assembly when null.</summary>
    public string? AssemblyName { get; set; }

    /// <summary>There is no dashboard here; the setting is for the official packages.</summary>
    public bool DisableDashboard { get; set; }
}
