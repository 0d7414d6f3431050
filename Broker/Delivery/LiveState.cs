namespace Broker.Delivery;

/// <summary>How the live fan-out fares with Redis.</summary>
public enum LiveState
{
    /// <summary>Not tried yet.</summary>
    Starting = 0,
    Connected,

    /// <summary>Connected, but an answer is overdue.</summary>
    Slow,

    /// <summary>Away, or refusing.</summary>
    Lost,
}
