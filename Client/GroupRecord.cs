using Broker.Client.Consuming;
using Google.Protobuf;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client;

/// <summary>
/// A record that a group has delivered to a consumer. It is the consumer's until it is settled, by one of acknowledge,
/// nack and terminate, or until the group's ack wait is over. Calls while others are under way are sent together.
/// </summary>
public sealed class GroupRecord
{
    private readonly IBrokerClient _client;
    private readonly HeldDelivery? _held;
    private readonly ByteString _token;
    private readonly int _position;
    private int _isFree;

    private GroupRecord(
        BrokerRecord record, int attempt, ByteString token, int position, IBrokerClient client, HeldDelivery? held)
    {
        (Record, Attempt, _token, _position) = (record, attempt, token, position);
        (_client, _held) = (client, held);
    }

    /// <summary>The record. Of a dead letter that was redriven: as it was published first.</summary>
    public BrokerRecord Record { get; }

    /// <summary>How often it was delivered, this time included: 1 is the first.</summary>
    public int Attempt { get; }

    /// <summary>
    /// Names the delivery for <see cref="BrokerClient.SettleAsync"/>: it can be kept, and used by another client.
    /// </summary>
    public GroupDelivery Delivery => new(_token.Memory, _position);

    /// <summary>
    /// A record as a group delivers it, for tests of what consumes: settling it is a call of
    /// <see cref="IBrokerClient.SettleAsync"/>, and so on, of the client that is given.
    /// </summary>
    /// <param name="client">What the test puts in the place of the brokers.</param>
    /// <param name="record">The record.</param>
    /// <param name="attempt">See <see cref="Attempt"/>; default 1.</param>
    /// <param name="delivery">See <see cref="Delivery"/>; default: an empty one.</param>
    /// <returns>The record. It is not held by any consumer.</returns>
    public static GroupRecord Create(
        IBrokerClient client, BrokerRecord record, int attempt = 1, GroupDelivery delivery = default)
    {
        ArgumentNullException.ThrowIfNull(client);
        ArgumentNullException.ThrowIfNull(record);
        ArgumentOutOfRangeException.ThrowIfLessThan(attempt, 1);
        var token = UnsafeByteOperations.UnsafeWrap(delivery.Token);
        return new GroupRecord(record, attempt, token, delivery.Position, client, held: null);
    }

    /// <summary>The record is finished and never comes again.</summary>
    /// <param name="cancellationToken">Ends the waiting; it may be finished all the same.</param>
    /// <returns>
    /// True when that is on the disks of a majority of the brokers; false: it was not the consumer's any more, and may
    /// be delivered again.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// Unavailable, OutcomeUnknown: no broker could say within OperationTimeout that it is done.
    /// </exception>
    public ValueTask<bool> AckAsync(CancellationToken cancellationToken = default) =>
        SettleAsync(GroupSettlementKind.Ack, null, "", cancellationToken);

    /// <summary>The record is to be delivered again.</summary>
    /// <param name="delay">No earlier than after this; null: as the group's back-off says. At most a day.</param>
    /// <param name="cancellationToken">As AckAsync.</param>
    /// <returns>As AckAsync.</returns>
    /// <exception cref="BrokerClientException">As AckAsync.</exception>
    public ValueTask<bool> NackAsync(TimeSpan? delay = null, CancellationToken cancellationToken = default) =>
        SettleAsync(GroupSettlementKind.Nack, GroupSettlement.NotNegative(delay), "", cancellationToken);

    /// <summary>The work takes longer: the record stays the consumer's.</summary>
    /// <param name="lease">From now on; null: the group's ack wait. At most a day.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>True; false: it was not the consumer's any more.</returns>
    /// <exception cref="BrokerClientException">As AckAsync.</exception>
    public ValueTask<bool> ExtendAsync(TimeSpan? lease = null, CancellationToken cancellationToken = default) =>
        KeepAsync(GroupSettlement.NotNegative(lease), cancellationToken);

    /// <summary>The record cannot be worked on: it becomes a dead letter of the group.</summary>
    /// <param name="reason">Why; up to 1 KiB of UTF-8, cut beyond.</param>
    /// <param name="cancellationToken">As AckAsync.</param>
    /// <returns>As AckAsync.</returns>
    /// <exception cref="BrokerClientException">As AckAsync.</exception>
    public ValueTask<bool> TerminateAsync(string reason = "", CancellationToken cancellationToken = default) =>
        SettleAsync(GroupSettlementKind.Terminate, null, reason, cancellationToken);

    /// <summary>
    /// Publishes what was made of the record and acknowledges it, in one step: both are on the disks of a majority of
    /// the brokers, or neither is. So there is one result of a record, however often it is delivered, and to whomever.
    /// </summary>
    /// <param name="topic">
    /// Must lie in the shard of the record's topic: names with the same word in braces do, e.g. "orders.{42}" and
    /// "invoices.{42}".
    /// </param>
    /// <param name="message">What was made of it.</param>
    /// <param name="cancellationToken">Ends the waiting; both may be done all the same.</param>
    /// <returns>The message's offset.</returns>
    /// <exception cref="BrokerClientException">
    /// LeaseLost: the record is not the consumer's any more. FailedPrecondition with the reason DIFFERENT_SHARDS.
    /// Nothing was done then. Others as <see cref="BrokerClient.PublishAtomicAsync(IReadOnlyList{AtomicPart},
    /// IReadOnlyCollection{GroupRecord}, CancellationToken)"/>, which takes several records and topics.
    /// </exception>
    public async ValueTask<PublishAck> PublishAndAckAsync(
        string topic, BrokerMessage message, CancellationToken cancellationToken = default)
    {
        var part = new AtomicPart { Topic = topic, Messages = [message] };
        return (await _client.PublishAtomicAsync([part], [this], cancellationToken))[0];
    }

    /// <summary>
    /// Replies to the request that the record is, and acknowledges it then. When the acknowledgement does not come
    /// about the request comes again, and has another reply, which nobody waits for.
    /// </summary>
    /// <param name="reply">The reply.</param>
    /// <param name="cancellationToken">As AckAsync.</param>
    /// <returns>As AckAsync.</returns>
    /// <exception cref="BrokerClientException">As <see cref="BrokerClient.ReplyAsync"/>, and AckAsync.</exception>
    public async ValueTask<bool> ReplyAsync(BrokerMessage reply, CancellationToken cancellationToken = default)
    {
        await _client.ReplyAsync(Record, reply, cancellationToken);
        return await AckAsync(cancellationToken);
    }

    /// <summary>Names the record in a request.</summary>
    internal Wire.DeliveredRange Range => new() { Token = _token, First = (uint)_position, Count = 1 };

    /// <summary>It is settled, or about to be: the consumer may be sent another one, once.</summary>
    internal void Free()
    {
        if (_held is not null && Interlocked.Exchange(ref _isFree, 1) == 0)
        {
            _held.FreeOne();
        }
    }

    internal static IEnumerable<GroupRecord> Of(Wire.Delivery delivery, BrokerClient client, HeldDelivery? held = null)
    {
        var timestamp = DateTimeOffset.FromUnixTimeMilliseconds(delivery.TimestampUnixMs);
        var at = 0;
        for (var i = 0; RecordBatchDecoder.TryNext(delivery.Batch.Memory, ref at, out var bytes); i++)
        {
            var record = RecordBatchDecoder.Decode(
                bytes, delivery.Topic, delivery.BaseOffset + i, timestamp, (int)delivery.Partition);
            yield return new GroupRecord(record, (int)delivery.Attempt, delivery.Token, i, client, held);
        }
    }

    private ValueTask<bool> SettleAsync(
        GroupSettlementKind kind, TimeSpan? time, string reason, CancellationToken cancellationToken) =>
        _client is BrokerClient broker
            ? broker.Settling.SettleAsync(
                new RecordSettlement(kind, _token, _position, time, reason, this), cancellationToken)
            : SettleByClientAsync(GroupSettlement.Of(kind, Delivery, time, reason), cancellationToken);

    private async ValueTask<bool> SettleByClientAsync(
        GroupSettlement settlement, CancellationToken cancellationToken) =>
        (await _client.SettleAsync([settlement], cancellationToken))[0];

    private async ValueTask<bool> KeepAsync(TimeSpan? lease, CancellationToken cancellationToken)
    {
        if (_client is not BrokerClient broker)
        {
            return await SettleByClientAsync(GroupSettlement.Extend(Delivery, lease), cancellationToken);
        }

        var settlement = new RecordSettlement(GroupSettlementKind.Extend, _token, _position, lease);
        var isDone = await broker.Settling.SettleAsync(settlement, cancellationToken);
        if (isDone)
        {
            _held?.Extend(lease);
        }

        return isDone;
    }
}

/// <summary>Names a delivered record; it outlives the consumer, its connection and the broker.</summary>
/// <param name="Token">What the broker has given; it says nothing to others.</param>
/// <param name="Position">The record's place in what was delivered together.</param>
public readonly record struct GroupDelivery(ReadOnlyMemory<byte> Token, int Position);

/// <summary>What can become of a delivered record.</summary>
public enum GroupSettlementKind
{
    /// <summary>It is finished.</summary>
    Ack,

    /// <summary>It is to be delivered again.</summary>
    Nack,

    /// <summary>Its lease is to be longer.</summary>
    Extend,

    /// <summary>It is to become a dead letter.</summary>
    Terminate,
}

/// <summary>What is to become of a delivered record.</summary>
public sealed record GroupSettlement
{
    private GroupSettlement(GroupSettlementKind kind, GroupDelivery delivery) => (Kind, Delivery) = (kind, delivery);

    /// <summary>What.</summary>
    public GroupSettlementKind Kind { get; }

    /// <summary>Of which record.</summary>
    public GroupDelivery Delivery { get; }

    /// <summary>Of Nack the delay, of Extend the lease; null: the group's.</summary>
    public TimeSpan? Time { get; private init; }

    /// <summary>Of Terminate.</summary>
    public string Reason { get; private init; } = "";

    /// <summary>See <see cref="GroupRecord.AckAsync"/>.</summary>
    /// <param name="delivery">The record's.</param>
    public static GroupSettlement Ack(GroupDelivery delivery) => new(GroupSettlementKind.Ack, delivery);

    /// <summary>See <see cref="GroupRecord.NackAsync"/>.</summary>
    /// <param name="delivery">The record's.</param>
    /// <param name="delay">Null: the group's back-off.</param>
    public static GroupSettlement Nack(GroupDelivery delivery, TimeSpan? delay = null) =>
        new(GroupSettlementKind.Nack, delivery) { Time = NotNegative(delay) };

    /// <summary>See <see cref="GroupRecord.ExtendAsync"/>.</summary>
    /// <param name="delivery">The record's.</param>
    /// <param name="lease">Null: the group's ack wait.</param>
    public static GroupSettlement Extend(GroupDelivery delivery, TimeSpan? lease = null) =>
        new(GroupSettlementKind.Extend, delivery) { Time = NotNegative(lease) };

    /// <summary>See <see cref="GroupRecord.TerminateAsync"/>.</summary>
    /// <param name="delivery">The record's.</param>
    /// <param name="reason">Why.</param>
    public static GroupSettlement Terminate(GroupDelivery delivery, string reason = "") =>
        new(GroupSettlementKind.Terminate, delivery) { Reason = reason };

    internal static GroupSettlement Of(
        GroupSettlementKind kind, GroupDelivery delivery, TimeSpan? time, string reason) =>
        new(kind, delivery) { Time = time, Reason = reason };

    internal RecordSettlement ToQueue() =>
        new(Kind, UnsafeByteOperations.UnsafeWrap(Delivery.Token), Delivery.Position, Time, Reason);

    internal static TimeSpan? NotNegative(TimeSpan? time) => time is null || time >= TimeSpan.Zero
        ? time
        : throw ClientErrors.Invalid($"A delay or lease of {time} is negative.");
}
