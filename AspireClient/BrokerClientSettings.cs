namespace Broker.Aspire.Client;

/// <summary>
/// How the client is built into the program. Bound from configuration sections Aspire:Broker:Client and, above it,
/// Aspire:Broker:Client:{connectionName}. How the client works itself: <see cref="Broker.Client.BrokerClientOptions"/>.
/// </summary>
public sealed class BrokerClientSettings
{
    /// <summary>
    /// Addresses of brokers with semicolons between, e.g. "http://a:7001;http://b:7001".
    /// ConnectionStrings:{connectionName} stands above the sections. Null, the default: the sections' Addresses, or
    /// else service discovery.
    /// </summary>
    public string? ConnectionString { get; set; }

    /// <summary>Whether the program's health does without the brokers. Default: false.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether the client's spans are left out of the program's traces. Default: false.</summary>
    public bool DisableTracing { get; set; }

    /// <summary>Whether the client's figures are left out of the program's metrics. Default: false.</summary>
    public bool DisableMetrics { get; set; }
}
