using System.Diagnostics;
using System.Diagnostics.Metrics;
using Broker.Client.Publishing;

namespace Broker.Client;

/// <summary>
/// Meter "Broker.Client", by OpenTelemetry's messaging conventions. Topics are no tags: there may be 100,000 of them.
/// </summary>
internal sealed class ClientMetrics : IDisposable
{
    private static readonly KeyValuePair<string, object?> System = new("messaging.system", "broker");
    private static readonly KeyValuePair<string, object?> Publish = new("messaging.operation.name", "publish");
    private static readonly KeyValuePair<string, object?> Receive = new("messaging.operation.name", "receive");

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
        _duration = _meter.CreateHistogram<double>(
            "messaging.client.operation.duration", "s", "From the first send of a batch to its last answer.");
    }

    public void Published(PublishBatch batch, BrokerClientException? error, PublishContext context)
    {
        var tags = new TagList { System, Publish };
        if (error is not null)
        {
            tags.Add("error.type", error.Code.ToString());
        }

        _sent.Add(batch.Count, tags);
        if (_duration.Enabled && batch.Tries > 0)
        {
            _duration.Record(context.Time.GetElapsedTime(batch.FirstSentAt, context.Now).TotalSeconds, tags);
        }
    }

    public void Consumed(int count) => _consumed.Add(count, System, Receive);

    public void Dispose() => _meter.Dispose();
}
