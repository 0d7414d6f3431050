using System.Text;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.Wire;
using Google.Protobuf.Collections;

namespace Broker.Api;

/// <summary>From the contract's Ack, Nack, Extend and Terminate to what Delivery takes, and the answer back.</summary>
internal sealed class SettleOrders
{
    private readonly List<SettleOrder> _orders = [];
    private BrokerException? _refusal;

    private SettleOrders(ulong correlation) => Correlation = correlation;

    /// <summary>The client's word for the request.</summary>
    public ulong Correlation { get; }

    /// <summary>What is to be done; empty when the request cannot be.</summary>
    public IReadOnlyList<SettleOrder> Orders => _refusal is null ? _orders : [];

    /// <summary>The same where all else depends on it.</summary>
    /// <exception cref="BrokerException">InvalidArgument: one of them cannot be.</exception>
    public IReadOnlyList<SettleOrder> Named => _refusal is null ? _orders : throw _refusal;

    /// <exception cref="BrokerException">InvalidArgument: no ranges, or too many.</exception>
    public static SettleOrders Of(Ack ack) =>
        Read(ack.Correlation, ack.Ranges, new SettleOrder { Kind = SettleKind.Ack });

    /// <inheritdoc cref="Of(Ack)"/>
    public static SettleOrders Of(Nack nack) => Read(
        nack.Correlation,
        nack.Ranges,
        new SettleOrder { Kind = SettleKind.Nack, DelayMs = nack.DelayMs is { } delay ? AtMostADay(delay) : null });

    /// <inheritdoc cref="Of(Ack)"/>
    public static SettleOrders Of(Extend extend) => Read(
        extend.Correlation,
        extend.Ranges,
        new SettleOrder
        {
            Kind = SettleKind.Extend,
            DelayMs = extend.LeaseMs > 0 ? AtMostADay(extend.LeaseMs) : null,
        });

    /// <inheritdoc cref="Of(Ack)"/>
    public static SettleOrders Of(Terminate terminate) => Read(
        terminate.Correlation,
        terminate.Ranges,
        new SettleOrder { Kind = SettleKind.Terminate, Reason = Cut(terminate.Reason) });

    /// <inheritdoc cref="Of(Ack)"/>
    public static SettleOrders Of(Settlement settlement) => settlement.SettlementCase switch
    {
        Settlement.SettlementOneofCase.Ack => Of(settlement.Ack),
        Settlement.SettlementOneofCase.Nack => Of(settlement.Nack),
        Settlement.SettlementOneofCase.Extend => Of(settlement.Extend),
        Settlement.SettlementOneofCase.Terminate => Of(settlement.Terminate),
        _ => throw Refusal.InvalidArgument(
            "An item does not say what is to become of its records; set ack, nack, extend or terminate."),
    };

    /// <summary>The answer to the request, from those to its orders.</summary>
    /// <param name="outcomes">Of all orders of several requests.</param>
    /// <param name="from">Where those of this one begin.</param>
    public Settled Answer(IReadOnlyList<SettleOutcome> outcomes, int from)
    {
        var (refusal, lost) = (_refusal, 0L);
        for (var i = 0; i < Orders.Count; i++)
        {
            refusal ??= outcomes[from + i].Refusal;
            lost += outcomes[from + i].Lost;
        }

        refusal ??= lost > 0 ? Refusal.LeaseLost(lost) : null;
        var settled = new Settled { Correlation = Correlation, Lost = (uint)lost };
        if (refusal is not null)
        {
            settled.Status = (uint)StatusMap.ToStatusCode(refusal.Code);
            settled.Message = refusal.Message;
            settled.Reason = StatusMap.ToReason(refusal.Code);
        }

        return settled;
    }

    private static SettleOrders Read(ulong correlation, RepeatedField<DeliveredRange> ranges, SettleOrder order)
    {
        if (ranges.Count is 0 or > Limits.RangesPerSettle)
        {
            throw Refusal.InvalidArgument(
                $"A request to settle names 1 to {Limits.RangesPerSettle:N0} ranges, not {ranges.Count:N0}.");
        }

        var read = new SettleOrders(correlation);
        foreach (var range in ranges)
        {
            if (range.Token.Length is 0 or > Limits.DeliveryTokenBytes
                || range.First > int.MaxValue || range.Count > int.MaxValue)
            {
                read._refusal = Refusal.InvalidArgument(
                    "A range names no delivery; take the token as it is from one, and positions within it.");
            }

            read._orders.Add(order with
            {
                Token = range.Token.Memory,
                First = (int)Math.Min(range.First, int.MaxValue),
                Count = (int)Math.Min(range.Count, int.MaxValue),
            });
        }

        return read;
    }

    private static long AtMostADay(ulong milliseconds) => (long)Math.Min(milliseconds, Limits.GroupWaitMostMs);

    private static string Cut(string reason)
    {
        if (Encoding.UTF8.GetByteCount(reason) <= Limits.TerminateReasonBytes)
        {
            return reason;
        }

        var bytes = 0;
        var kept = new StringBuilder();
        foreach (var rune in reason.EnumerateRunes())
        {
            bytes += rune.Utf8SequenceLength;
            if (bytes > Limits.TerminateReasonBytes)
            {
                break;
            }

            kept.Append(rune.ToString());
        }

        return kept.ToString();
    }
}
