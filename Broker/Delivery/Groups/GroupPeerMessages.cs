using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;
using Google.Protobuf;

namespace Broker.Delivery;

/// <summary>What nodes say to each other about groups, to and from the wire.</summary>
internal static class GroupPeerMessages
{
    public static BrokerException ToRefusal(GroupPeerRefusal refused) =>
        Refusal.ByPeer((RefusalCode)refused.Code, refused.Message);

    public static GroupPeerRefusal ToWire(BrokerException refusal) =>
        new() { Code = (uint)refusal.Code, Message = refusal.Message };

    public static GroupDelivery ToDelivery(GroupPeerDelivery wire) => new(
        wire.Token.Memory,
        wire.Topic,
        wire.Partition,
        wire.BaseOffset,
        wire.TimestampUnixMs,
        wire.Batch.Memory,
        wire.Count,
        wire.Attempt);

    public static GroupPeerDelivery ToWire(in GroupDelivery delivery) => new()
    {
        Token = UnsafeByteOperations.UnsafeWrap(delivery.Token),
        Topic = delivery.Topic,
        Partition = delivery.Partition,
        BaseOffset = delivery.BaseOffset,
        TimestampUnixMs = delivery.TimestampUnixMs,
        Batch = UnsafeByteOperations.UnsafeWrap(delivery.Batch),
        Count = delivery.Count,
        Attempt = delivery.Attempt,
    };

    public static GroupPeerOrder ToWire(GroupId shard, in TokenOrder order)
    {
        var wire = new GroupPeerOrder
        {
            Kind = (uint)order.Kind,
            Token = UnsafeByteOperations.UnsafeWrap(DeliveryTokens.Encode(shard, order.Group, order.Token)),
            Reason = order.Reason ?? "",
        };
        if (order.DelayMs is { } delay)
        {
            wire.DelayMs = delay;
        }

        return wire;
    }

    /// <summary>Null: no node of this version says that.</summary>
    public static TokenOrder? ToOrder(GroupPeerOrder wire) =>
        wire.Kind <= (uint)SettleKind.Extend
        && DeliveryTokens.TryDecode(wire.Token.Span, out _, out var group, out var token)
            ? new TokenOrder(group, (SettleKind)wire.Kind, token, wire.HasDelayMs ? wire.DelayMs : null, wire.Reason)
            : null;

    public static PeekedPlace ToPeeked(GroupPeerPeekedRecord wire) => new(
        new PlaceOfRecord(wire.Topic, wire.Partition, wire.Offset),
        wire.Deliveries,
        wire.Consumer,
        wire.Node,
        wire.Session,
        wire.UntilUnixMs);

    public static GroupPeerPeekedRecord ToWire(PeekedPlace record) => new()
    {
        Topic = record.Place.Topic,
        Partition = record.Place.Partition,
        Offset = record.Place.Offset,
        Deliveries = record.Deliveries,
        Consumer = record.Consumer,
        Node = record.Node,
        Session = record.Session,
        UntilUnixMs = record.UntilUnixMs,
    };

    public static GroupReport ToReport(GroupPeerReported wire) => new(
        [.. wire.Consumers.Select(static each => new ConsumerReport(
            each.Name, each.Node, each.Session, each.Out, each.Credit, each.Served))],
        [.. wire.Places.Select(static each => new PlaceReport(
            each.Topic,
            each.Partition,
            each.Floor,
            each.Next,
            each.Lag,
            each.OldestUnixMs,
            each.Out,
            each.Waiting,
            each.Redeliveries,
            each.Expired))],
        wire.DeadLetters);

    public static GroupPeerReported ToWire(GroupReport report)
    {
        var wire = new GroupPeerReported { DeadLetters = report.DeadLetters };
        wire.Consumers.AddRange(report.Consumers.Select(static each => new GroupPeerConsumer
        {
            Name = each.Name,
            Node = each.Node,
            Session = each.Session,
            Out = each.Out,
            Credit = each.Credit,
            Served = each.IsServed,
        }));
        wire.Places.AddRange(report.Places.Select(static each => new GroupPeerPlace
        {
            Topic = each.Topic,
            Partition = each.Partition,
            Floor = each.Floor,
            Next = each.Next,
            Lag = each.Lag,
            OldestUnixMs = each.OldestUnixMs,
            Out = each.Out,
            Waiting = each.Waiting,
            Redeliveries = each.Redeliveries,
            Expired = each.Expired,
        }));
        return wire;
    }
}
