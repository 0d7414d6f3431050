using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>What one load does, to whom and for how long.</summary>
internal sealed record LoadSettings
{
    public required IReadOnlyList<Uri> Addresses { get; init; }

    /// <summary>Topics that publishes go to in turn.</summary>
    public required IReadOnlyList<string> Topics { get; init; }

    /// <summary>Bytes of a message's value.</summary>
    public int SizeBytes { get; init; } = 128;

    /// <summary>Publishes that may be unanswered at a time.</summary>
    public int Window { get; init; } = 1;

    public TimeSpan Duration { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Publishes a second of the end-to-end load.</summary>
    public double Rate { get; init; } = 1_000;

    /// <summary>Messages to read.</summary>
    public long Messages { get; init; } = 100_000;

    /// <summary>0: the client's own choice.</summary>
    public int RecordsPerBatch { get; init; }

    public BrokerClient Connect()
    {
        var options = new BrokerClientOptions { Addresses = Addresses };
        return new BrokerClient(RecordsPerBatch == 0
            ? options
            : options with { BatchRecords = RecordsPerBatch, MaxInFlightBatchesPerTopic = 16 });
    }
}
