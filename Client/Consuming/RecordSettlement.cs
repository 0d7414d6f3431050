using Google.Protobuf;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Consuming;

/// <summary>What is to become of one delivered record, on its way into a request.</summary>
/// <param name="Kind">What.</param>
/// <param name="Token">Of its delivery.</param>
/// <param name="Position">Its place there.</param>
/// <param name="Time">Of Nack the delay, of Extend the lease; null: the group's.</param>
/// <param name="Reason">Of Terminate.</param>
/// <param name="Record">
/// Makes room in its consumer's window: one that is acknowledged once that has found room in the queue, another one
/// when it is answered. Null: it has none.
/// </param>
internal readonly record struct RecordSettlement(
    GroupSettlementKind Kind,
    ByteString Token,
    int Position,
    TimeSpan? Time = null,
    string Reason = "",
    GroupRecord? Record = null)
{
    /// <summary>Whether the same is to become of this record as of those of another one's delivery before it.</summary>
    /// <param name="first">The first of these.</param>
    /// <param name="count">How many they are, one after another.</param>
    public bool Continues(in RecordSettlement first, int count) =>
        Position == first.Position + count && Kind == first.Kind && Time == first.Time && Reason == first.Reason
        && (ReferenceEquals(Token, first.Token) || Token.Equals(first.Token));

    /// <summary>The same of so many records, this one and those behind it.</summary>
    public Wire.Settlement ToWire(int count)
    {
        var range = new Wire.DeliveredRange { Token = Token, First = (uint)Position, Count = (uint)count };
        var milliseconds = (ulong?)Time?.TotalMilliseconds;
        return Kind switch
        {
            GroupSettlementKind.Ack => new Wire.Settlement { Ack = new Wire.Ack { Ranges = { range } } },
            GroupSettlementKind.Nack => new Wire.Settlement
            {
                Nack = new Wire.Nack { Ranges = { range }, DelayMs = milliseconds },
            },
            GroupSettlementKind.Extend => new Wire.Settlement
            {
                // 0 would be the group's.
                Extend = new Wire.Extend { Ranges = { range }, LeaseMs = milliseconds is { } ms ? Math.Max(1, ms) : 0 },
            },
            _ => new Wire.Settlement { Terminate = new Wire.Terminate { Ranges = { range }, Reason = Reason } },
        };
    }
}
