using System.Diagnostics.CodeAnalysis;

namespace Broker.Client;

/// <summary>
/// What a program asks of the brokers about messages: publish, read, follow, consume. <see cref="BrokerClient"/> does
/// it; a test puts its own in place. What is asked of topics, groups and nodes themselves: <see cref="IBrokerAdmin"/>.
/// </summary>
public interface IBrokerClient : IAsyncDisposable
{
    /// <inheritdoc cref="BrokerClient.Serializer"/>
    IMessageSerializer Serializer { get; }

    /// <inheritdoc cref="BrokerClient.WatchConnectionsAsync(CancellationToken)"/>
    IAsyncEnumerable<BrokerConnectionEvent> WatchConnectionsAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishAsync(string, BrokerMessage, CancellationToken)"/>
    ValueTask<PublishAck> PublishAsync(
        string topic, BrokerMessage message, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishBatchAsync(
    /// string, ReadOnlyMemory{byte}, int, ProducerStamp, CancellationToken)"/>
    ValueTask<PublishAck> PublishBatchAsync(
        string topic,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishPartitionBatchAsync(
    /// string, int, ReadOnlyMemory{byte}, int, ProducerStamp, CancellationToken)"/>
    ValueTask<PublishAck> PublishPartitionBatchAsync(
        string topic,
        int partition,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishValueAsync{T}(string, T, BrokerMessage, CancellationToken)"/>
    ValueTask<PublishAck> PublishValueAsync<T>(
        string topic, T value, BrokerMessage? with = null, CancellationToken cancellationToken = default)
        where T : notnull;

    /// <inheritdoc cref="BrokerClient.ReadValue{T}(BrokerRecord)"/>
    T ReadValue<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        BrokerRecord record);

    /// <inheritdoc cref="BrokerClient.PublishAtOffsetAsync(string, BrokerMessage, long, CancellationToken)"/>
    ValueTask<PublishAck> PublishAtOffsetAsync(
        string topic, BrokerMessage message, long expectedOffset, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishAtomicAsync(IReadOnlyList{AtomicPart}, CancellationToken)"/>
    ValueTask<IReadOnlyList<PublishAck>> PublishAtomicAsync(
        IReadOnlyList<AtomicPart> parts, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PublishAtomicAsync(
    /// IReadOnlyList{AtomicPart}, IReadOnlyCollection{GroupRecord}, CancellationToken)"/>
    ValueTask<IReadOnlyList<PublishAck>> PublishAtomicAsync(
        IReadOnlyList<AtomicPart> parts,
        IReadOnlyCollection<GroupRecord> acks,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ReadAsync(string, ReadOptions, CancellationToken)"/>
    IAsyncEnumerable<BrokerRecord> ReadAsync(
        string topic, ReadOptions? options = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SubscribeAsync(IEnumerable{string}, SubscribeOptions, CancellationToken)"/>
    ValueTask<TopicSubscription> SubscribeAsync(
        IEnumerable<string> filters, SubscribeOptions? options = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ConsumeAsync(string, ConsumeOptions, CancellationToken)"/>
    ValueTask<GroupConsumer> ConsumeAsync(
        string group, ConsumeOptions? options = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.FetchAsync(string, int, TimeSpan?, IReadOnlyList{string}, CancellationToken)"/>
    ValueTask<IReadOnlyList<GroupRecord>> FetchAsync(
        string group,
        int maxRecords = 100,
        TimeSpan? wait = null,
        IReadOnlyList<string>? filters = null,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SettleAsync(IEnumerable{GroupSettlement}, CancellationToken)"/>
    ValueTask<IReadOnlyList<bool>> SettleAsync(
        IEnumerable<GroupSettlement> settlements, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.RequestAsync(string, BrokerMessage, TimeSpan, CancellationToken)"/>
    ValueTask<BrokerRecord> RequestAsync(
        string topic, BrokerMessage message, TimeSpan timeout, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ReplyAsync(BrokerRecord, BrokerMessage, CancellationToken)"/>
    ValueTask<PublishAck> ReplyAsync(
        BrokerRecord request, BrokerMessage reply, CancellationToken cancellationToken = default);
}
