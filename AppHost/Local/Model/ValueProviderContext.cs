namespace Aspire.Hosting.ApplicationModel;

/// <summary>
/// Who asks for a value. Processes of one machine all see the same addresses, so nothing depends on it here.
/// </summary>
public class ValueProviderContext
{
    public DistributedApplicationExecutionContext? ExecutionContext { get; init; }

    public IResource? Caller { get; init; }
}
