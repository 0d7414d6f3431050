using System.Collections.Immutable;

namespace Aspire.Hosting.Eventing;

/// <summary>Keeps the subscribers of events.</summary>
public sealed class DistributedApplicationEventing : IDistributedApplicationEventing
{
    private ImmutableArray<(Type Type, DistributedApplicationEventSubscription Subscription)> _subscriptions = [];

    public DistributedApplicationEventSubscription Subscribe<T>(Func<T, CancellationToken, Task> callback)
        where T : IDistributedApplicationEvent
    {
        var subscription = new DistributedApplicationEventSubscription((e, token) => callback((T)e, token));
        ImmutableInterlocked.Update(ref _subscriptions, all => all.Add((typeof(T), subscription)));
        return subscription;
    }

    public DistributedApplicationEventSubscription Subscribe<T>(
        IResource resource, Func<T, CancellationToken, Task> callback)
        where T : IDistributedApplicationResourceEvent =>
        Subscribe<T>((e, token) => e.Resource == resource ? callback(e, token) : Task.CompletedTask);

    public void Unsubscribe(DistributedApplicationEventSubscription subscription) =>
        ImmutableInterlocked.Update(ref _subscriptions, all => all.RemoveAll(s => s.Subscription == subscription));

    public async Task PublishAsync<T>(T @event, CancellationToken cancellationToken = default)
        where T : IDistributedApplicationEvent
    {
        foreach (var (type, subscription) in _subscriptions)
        {
            if (type == typeof(T))
            {
                await subscription.Callback(@event, cancellationToken);
            }
        }
    }
}
