using Broker.Client.Connections;
using Microsoft.Extensions.Logging;

namespace Broker.Client.Publishing;

/// <summary>What all producers of one client share.</summary>
internal sealed class PublishContext(
    BrokerClientOptions options,
    TimeProvider time,
    ILogger logger,
    BrokerConnections connections,
    ClientMetrics metrics)
{
    public BrokerClientOptions Options { get; } = options;

    public TimeProvider Time { get; } = time;

    public ILogger Logger { get; } = logger;

    public BrokerConnections Connections { get; } = connections;

    public ClientMetrics Metrics { get; } = metrics;

    public PublishGate Gate { get; } = new(options.MaxBufferedBytes, options.MaxWaitingPublishes);

    public long Now => Time.GetTimestamp();

    public long After(long now, TimeSpan span) => now + Ticks(span);

    public long Ticks(TimeSpan span) => (long)(span.TotalSeconds * Time.TimestampFrequency);
}
