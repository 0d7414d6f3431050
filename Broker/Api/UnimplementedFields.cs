using Broker.Domain;
using Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>
/// Refuses requests that set a field of the contract which this version does not honour: a condition or a place that is
/// ignored would be worse than none. Those of a record, which stays bytes here, are refused by
/// <see cref="Topics.RecordBatchScanner"/>.
/// </summary>
internal static class UnimplementedFields
{
    private const string Partitions = "a topic of several partitions";

    /// <exception cref="BrokerException">Unimplemented, with the field's name.</exception>
    public static void Refuse(PublishRequest request)
    {
        if (request.ExpectedOffset is not null)
        {
            throw Refusal.Unimplemented("expected_offset", "optimistic concurrency");
        }

        // Partition 0 is the only one that a topic has, so whoever asks for it is served.
        if (request.Partition is > 0)
        {
            throw Refusal.Unimplemented("partition", Partitions);
        }
    }

    /// <exception cref="BrokerException">Unimplemented, with the field's name.</exception>
    public static void Refuse(ReadRequest request)
    {
        if (request.Partition != 0)
        {
            throw Refusal.Unimplemented("partition", Partitions);
        }

        if (request.HasTimeUnixMs)
        {
            throw Refusal.Unimplemented("time_unix_ms", "a read from a time");
        }

        if (request.HasPosition && request.Position == StartPosition.LastPerKey)
        {
            throw Refusal.Unimplemented(
                "position START_POSITION_LAST_PER_KEY", "a read of the last record of each key");
        }
    }
}
