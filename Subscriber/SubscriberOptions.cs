namespace Subscriber;

/// <summary>Settings of the subscriber service, section "Subscriber".</summary>
internal sealed class SubscriberOptions
{
    public const string Section = "Subscriber";

    /// <summary>
    /// The name of the live subscription at the brokers: the same for all instances that share an inbox.
    /// </summary>
    public string Name { get; set; } = "subscriber";

    /// <summary>Subjects that are always followed, e.g. "orders.>"; more come through the API. Default: none.</summary>
    public string[] Subjects { get; set; } = [];

    /// <summary>How often the brokers are asked for what the live feed may have missed. Default 1 s.</summary>
    public TimeSpan PollWithRedis { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>The same while Redis is away: this is then the delay of every message. Default 100 ms.</summary>
    public TimeSpan PollWithoutRedis { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>How long a poll or a registration may take before it is tried again. Default 10 s.</summary>
    public TimeSpan BrokerTimeout { get; set; } = TimeSpan.FromSeconds(10);
}
