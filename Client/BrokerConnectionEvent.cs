namespace Broker.Client;

/// <summary>What has become of the connection to a broker.</summary>
public enum BrokerConnectionState
{
    /// <summary>The broker answers, for the first time.</summary>
    Connected,

    /// <summary>
    /// The broker cannot be reached, or does not answer: the client goes elsewhere, and tries it again later. It need
    /// not have been connected before.
    /// </summary>
    Lost,

    /// <summary>The broker answers again.</summary>
    Reconnected,
}

/// <summary>
/// The connection to a broker came up or was lost, as its use has shown: a broker that nothing is asked of is not
/// looked after. A refusal is an answer, too.
/// </summary>
/// <param name="Address">Where the broker is.</param>
/// <param name="State">What has become of it.</param>
/// <param name="Reason">Of Lost: what happened, for people to read. Else empty.</param>
/// <param name="At">When it was seen, UTC.</param>
public sealed record BrokerConnectionEvent(Uri Address, BrokerConnectionState State, string Reason, DateTimeOffset At)
{
    /// <summary>
    /// How many events before this one were left out, because whoever enumerates was slow: 256 wait for each, and the
    /// oldest of more is left out. Default 0.
    /// </summary>
    public int Missed { get; init; }
}
