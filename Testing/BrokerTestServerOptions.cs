using Microsoft.Extensions.Logging;

namespace Broker.Testing;

/// <summary>How a <see cref="BrokerTestServer"/> begins.</summary>
public sealed record BrokerTestServerOptions
{
    /// <summary>What the broker's clock shows at the start. Null, the default: the machine's time.</summary>
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>
    /// Bytes that the broker may keep, from 64 MiB; a seventh of them is its reserve, so publishes are refused a little
    /// before (RESOURCE_EXHAUSTED). Default 1 GiB. Memory is taken as it is filled.
    /// </summary>
    public long MemoryBytes { get; init; } = 1L << 30;

    /// <summary>
    /// Settings of the broker by their names in the configuration, e.g. "Broker:DataShards". The process's own
    /// configuration and environment do not count. Default: none.
    /// </summary>
    public IReadOnlyDictionary<string, string?> Settings { get; init; } = new Dictionary<string, string?>();

    /// <summary>Where the broker's log goes. Null, the default: nowhere.</summary>
    public Action<ILoggingBuilder>? ConfigureLogging { get; init; }
}
