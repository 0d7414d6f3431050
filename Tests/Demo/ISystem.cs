namespace Broker.Tests.Demo;

/// <summary>The running system, as the main job sees it.</summary>
public interface ISystem
{
    Uri Endpoint(string resource, string endpoint);

    Task<string> ConnectionStringAsync(string resource, CancellationToken cancellationToken);

    /// <summary>kill -9, by process id.</summary>
    Task KillAsync(string resource, CancellationToken cancellationToken);

    /// <summary>Starts a resource again and waits until it is healthy.</summary>
    Task StartAsync(string resource, CancellationToken cancellationToken);
}
