namespace Aspire.Hosting.Local;

/// <summary>
/// Names of the properties in a resource's snapshot; the official packages use the same for the first.
/// </summary>
internal static class SnapshotProperties
{
    public const string ProcessId = "executable.pid";
    public const string Failure = "local.failure";
    public const string LogFile = "local.log";
}
