namespace Broker.Client;

/// <summary>
/// Where a subscription begins in the topics that are there; one that comes later is always read from its beginning.
/// Default: at the end, so that only what is published from now on comes.
/// </summary>
public sealed record SubscribeOptions
{
    /// <summary>Begin with the first record that each topic keeps. Default false. Ignored with FromTime.</summary>
    public bool FromBeginning { get; init; }

    /// <summary>
    /// Begin in each topic with the first batch that the broker took at this time or later, to the millisecond. Default
    /// null.
    /// </summary>
    public DateTimeOffset? FromTime { get; init; }
}
