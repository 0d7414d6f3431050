using Broker.Domain;
using Broker.Protocol.Wire;
using TopicConfig = Broker.Protocol.V1.TopicConfig;

namespace Broker.Api;

/// <summary>
/// Refuses requests that set a field of the contract which this version does not honour: a condition or a place that is
/// ignored would be worse than none. Those of a record, which stays bytes here, are refused by
/// <see cref="Topics.RecordBatchScanner"/>.
/// </summary>
internal static class UnimplementedFields
{
    private const string Compaction = "a topic that keeps the last record of each key";

    /// <exception cref="BrokerException">Unimplemented, with the field's name.</exception>
    public static void Refuse(TopicConfig? config)
    {
        if (config?.Compact is true)
        {
            throw Refusal.Unimplemented("config.compact", Compaction);
        }

        if (config?.CompactAfterMs is > 0)
        {
            throw Refusal.Unimplemented("config.compact_after_ms", Compaction);
        }

        if (config?.DeleteMarkerMs is not null)
        {
            throw Refusal.Unimplemented("config.delete_marker_ms", Compaction);
        }
    }

    /// <exception cref="BrokerException">Unimplemented, with the field's name.</exception>
    public static void Refuse(ReadRequest request)
    {
        if (request.HasPosition && request.Position == StartPosition.LastPerKey)
        {
            throw Refusal.Unimplemented(
                "position START_POSITION_LAST_PER_KEY", "a read of the last record of each key");
        }
    }
}
