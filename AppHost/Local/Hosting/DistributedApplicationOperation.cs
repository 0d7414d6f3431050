namespace Aspire.Hosting;

/// <summary>What is done with the application. Only running is offered without the official packages.</summary>
public enum DistributedApplicationOperation
{
    Run,
    Publish,
}
