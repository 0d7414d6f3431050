using System.Diagnostics;
using System.Diagnostics.Metrics;
using Broker.Client.Publishing;

namespace Broker.Client;

/// <summary>
/// Meter "Broker.Client", by OpenTelemetry's messaging conventions. Topics are no tags: there may be 100,000 of them.
/// </summary>
internal sealed class ClientMetrics : IDisposable
{
    /// <summary>What the conventions want histograms of durations to be divided by.</summary>
    public static readonly InstrumentAdvice<double> Seconds = new()
    {
        HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    };

    public static readonly KeyValuePair<string, object?> System = new("messaging.system", "broker");

    private readonly Meter _meter = new("Broker.Client");
    private readonly Counter<long> _sent;
    private readonly Counter<long> _consumed;
    private readonly Histogram<double> _duration;

    public ClientMetrics()
    {
        _sent = _meter.CreateCounter<long>(
            "messaging.client.sent.messages", "{message}", "Messages that were published, with or without success.");
        _consumed = _meter.CreateCounter<long>(
            "messaging.client.consumed.messages", "{message}", "Messages that were handed to readers.");
        _duration = _meter.CreateHistogram(
            "messaging.client.operation.duration",
            "s",
            "Publish: from the first send of a batch to its last answer. Fetch, settle: one request with its retries.",
            tags: null,
            Seconds);
    }

    public void Published(PublishBatch batch, BrokerClientException? error, PublishContext context)
    {
        // What was never sent is not counted: the conventions do not want it.
        if (batch.Tries == 0 || !(_sent.Enabled || _duration.Enabled))
        {
            return;
        }

        var tags = Tags("publish", error?.Code);
        if (batch.AnsweredBy is { } broker)
        {
            tags.Add("server.address", broker.Host);
            tags.Add("server.port", broker.Port);
        }

        _sent.Add(batch.Count, tags);
        tags.Add("messaging.operation.type", "send");
        _duration.Record(context.Time.GetElapsedTime(batch.FirstSentAt, context.Now).TotalSeconds, tags);
    }

    /// <summary>A request other than a publish.</summary>
    /// <param name="operation">Its name.</param>
    /// <param name="type">What the conventions call such: receive or settle.</param>
    /// <param name="duration">With all retries.</param>
    /// <param name="error">Why it failed; null: it did not.</param>
    public void Called(string operation, string type, TimeSpan duration, BrokerClientErrorCode? error)
    {
        if (_duration.Enabled)
        {
            var tags = Tags(operation, error);
            tags.Add("messaging.operation.type", type);
            _duration.Record(duration.TotalSeconds, tags);
        }
    }

    /// <summary>Messages were handed to whoever reads.</summary>
    /// <param name="count">How many.</param>
    /// <param name="group">Of which consumer group; null: of none.</param>
    public void Consumed(long count, string? group = null)
    {
        if (count > 0 && _consumed.Enabled)
        {
            var tags = Tags("receive", error: null);
            if (group is not null)
            {
                tags.Add("messaging.consumer.group.name", group);
            }

            _consumed.Add(count, tags);
        }
    }

    public void Dispose() => _meter.Dispose();

    private static TagList Tags(string operation, BrokerClientErrorCode? error)
    {
        var tags = new TagList { System, new("messaging.operation.name", operation) };
        if (error is { } code)
        {
            tags.Add("error.type", code.ToString());
        }

        return tags;
    }
}
