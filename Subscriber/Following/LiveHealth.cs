namespace Subscriber.Following;

/// <summary>Whether the live feed works; its owner says so, others read it.</summary>
internal sealed class LiveHealth
{
    private volatile bool _healthy;

    public bool IsHealthy
    {
        get => _healthy;
        set => _healthy = value;
    }
}
