namespace Aspire.Hosting.Eventing;

/// <summary>A subscriber of events.</summary>
public class DistributedApplicationEventSubscription(
    Func<IDistributedApplicationEvent, CancellationToken, Task> callback)
{
    public Func<IDistributedApplicationEvent, CancellationToken, Task> Callback { get; } = callback;
}
