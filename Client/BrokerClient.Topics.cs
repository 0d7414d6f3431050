using Broker.Protocol.V1;
using Grpc.Core;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Makes a topic before its first publish, with settings of its own. Making it again with the same settings
    /// succeeds.
    /// </summary>
    /// <param name="topic">Dot-separated tokens, e.g. "orders.eu.created"; 1 to 255 bytes of UTF-8.</param>
    /// <param name="settings">What it keeps. Null, and each part that is null: the default.</param>
    /// <param name="cancellationToken">Ends the waiting; the topic may come to be all the same.</param>
    /// <returns>The settings, with every part set.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name or setting. AlreadyExists: the topic has other settings. ResourceExhausted: too many
    /// topics. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<TopicSettings> CreateTopicAsync(
        string topic, TopicSettings? settings = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var request = new CreateTopicRequest { Name = topic, Config = ToConfig(settings) };
        var response = await CallAnyAsync(
            $"Creating topic '{topic}'", (c, o) => c.Admin.CreateTopicAsync(request, o), cancellationToken);
        return ToSettings(response.Config);
    }

    /// <summary>Changes those settings of a topic that are not null.</summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="settings">What is to change.</param>
    /// <param name="cancellationToken">Ends the waiting; the change may take place all the same.</param>
    /// <returns>The new settings, with every part set.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic. InvalidArgument: a bad name or setting. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<TopicSettings> UpdateTopicAsync(
        string topic, TopicSettings settings, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentNullException.ThrowIfNull(settings);
        var request = new UpdateTopicRequest { Name = topic, Config = ToConfig(settings) };
        var response = await CallAnyAsync(
            $"Changing topic '{topic}'", (c, o) => c.Admin.UpdateTopicAsync(request, o), cancellationToken);
        return ToSettings(response.Config);
    }

    /// <summary>
    /// Removes a topic with all its records, for good; who reads it hears TopicDeleted. The next publish to its name
    /// makes another topic, whose offsets begin at 0.
    /// </summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="cancellationToken">Ends the waiting; the topic may be removed all the same.</param>
    /// <returns>
    /// True; false when there is no such topic, which a repeated try cannot tell from its own success.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<bool> DeleteTopicAsync(string topic, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        try
        {
            await CallAnyAsync(
                $"Deleting topic '{topic}'",
                (c, o) => c.Admin.DeleteTopicAsync(new DeleteTopicRequest { Name = topic }, o),
                cancellationToken);
            return true;
        }
        catch (BrokerClientException refusal) when (refusal.Code == BrokerClientErrorCode.NotFound)
        {
            return false;
        }
    }

    /// <summary>A topic's settings, and what it holds.</summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>What the node that answered has of it.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic. InvalidArgument: a bad name. Unavailable: no broker answered for OperationTimeout.
    /// </exception>
    public ValueTask<TopicDetails> DescribeTopicAsync(string topic, CancellationToken cancellationToken = default) =>
        DescribeTopicAsync(topic, linearizable: false, cancellationToken);

    /// <summary>The same; if wanted with nothing missed that was acknowledged before.</summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="linearizable">As <see cref="ReadOptions.Linearizable"/>, of all partitions.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>What the node that answered has of it, and nothing older than asked for.</returns>
    /// <exception cref="BrokerClientException">As above. Unavailable: no leader for OperationTimeout, too.</exception>
    public async ValueTask<TopicDetails> DescribeTopicAsync(
        string topic, bool linearizable, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var request = new DescribeTopicRequest { Name = topic, Linearizable = linearizable };
        var response = await CallAnyAsync(
            $"Describing topic '{topic}'", (c, o) => c.Admin.DescribeTopicAsync(request, o), cancellationToken);
        var last = response.Partitions.Max(static partition => partition.LastTimestampUnixMs);
        return new TopicDetails(
            ToInfo(response.Topic),
            ToSettings(response.Config),
            response.Partitions.Sum(static partition => (long)partition.SizeBytes),
            last == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(last));
    }

    /// <summary>
    /// Removes a topic's records of before a time, for good; of all its partitions.
    /// </summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="before">Batches that the brokers took before it go, to the millisecond.</param>
    /// <param name="cancellationToken">Ends the waiting; the purge may take place all the same.</param>
    /// <returns>The first offset that is kept; of several partitions the sum of theirs.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic. InvalidArgument: a bad name, or a time before 1970. Unavailable: no leader for
    /// OperationTimeout.
    /// </exception>
    public async ValueTask<long> PurgeTopicBeforeAsync(
        string topic, DateTimeOffset before, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var request = new PurgeTopicRequest { Name = topic, BeforeTimeUnixMs = before.ToUnixTimeMilliseconds() };
        var response = await CallAnyAsync(
            $"Purging topic '{topic}'", (c, o) => c.Admin.PurgeTopicAsync(request, o), cancellationToken);
        return response.FirstOffsets.Sum();
    }

    /// <summary>
    /// Publishes one message if it gets a given offset (optimistic concurrency): who has read up to an offset, and
    /// decided by what was there, publishes at it, and hears when somebody else was faster. Never stored twice.
    /// </summary>
    /// <param name="topic">As in <see cref="PublishAsync"/>.</param>
    /// <param name="message">The message.</param>
    /// <param name="expectedOffset">The offset that it must get; 0: the topic has had no record yet.</param>
    /// <param name="cancellationToken">Ends the waiting; the message may be stored all the same.</param>
    /// <returns>Its offset, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="BrokerClientException">
    /// UnexpectedOffset: another offset is the next one; nothing was stored. OutcomeUnknown: a try got no answer, and
    /// now the offset is taken, by this message or by another. InvalidArgument, ResourceExhausted, Unavailable: as for
    /// PublishAsync, within OperationTimeout.
    /// </exception>
    public async ValueTask<PublishAck> PublishAtOffsetAsync(
        string topic, BrokerMessage message, long expectedOffset, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentNullException.ThrowIfNull(message);
        ArgumentOutOfRangeException.ThrowIfNegative(expectedOffset);
        if (!TopicName.ValidateForPublish(topic, out var reason))
        {
            throw ClientErrors.Invalid(reason);
        }

        if (MessageLimits.Violation(message) is { } violation)
        {
            throw ClientErrors.Invalid($"A message for topic '{topic}' was not taken. {violation}");
        }

        var request = new Wire.PublishRequest
        {
            Topic = topic,
            Batch = Google.Protobuf.UnsafeByteOperations.UnsafeWrap(RecordBatchEncoder.Encode([message])),
            ExpectedOffset = expectedOffset,
            Partition = (uint?)message.Partition,
        };
        var isUncertain = false;
        try
        {
            var response = await CallAnyAsync(
                $"Publishing at offset {expectedOffset} of topic '{topic}'",
                (c, o) => c.Messages.PublishAsync(request, o),
                cancellationToken,
                error => isUncertain |= error.StatusCode != StatusCode.Unavailable
                    || ClientErrors.ReasonOf(error).Length == 0);
            return new PublishAck(
                topic,
                response.BaseOffset,
                DateTimeOffset.FromUnixTimeMilliseconds(response.TimestampUnixMs),
                response.Duplicate,
                (int)response.Partition);
        }
        catch (BrokerClientException refusal) when (
            isUncertain
            && refusal is { Code: BrokerClientErrorCode.UnexpectedOffset, InnerException: RpcException last })
        {
            throw ClientErrors.ConditionUnclear(topic, expectedOffset, last);
        }
    }

    private static TopicConfig ToConfig(TopicSettings? settings) => new()
    {
        Partitions = settings?.Partitions is { } partitions ? (uint)Number("Partitions", partitions) : null,
        MaxAgeMs = settings?.MaxAge is { } age ? Number("MaxAge", (long)age.TotalMilliseconds) : null,
        MaxBytes = settings?.MaxBytes is { } bytes ? Number("MaxBytes", bytes) : null,
        MaxRecords = settings?.MaxRecords is { } records ? Number("MaxRecords", records) : null,
        MaxMessageBytes = settings?.MaxMessageBytes is { } most ? (uint)Number("MaxMessageBytes", most) : null,
        Compact = settings?.Compact,
        CompactAfterMs = settings?.CompactAfter is { } young
            ? Number("CompactAfter", (long)young.TotalMilliseconds) : null,
        DeleteMarkerMs = settings?.DeleteMarkerAge is { } marker
            ? Number("DeleteMarkerAge", (long)marker.TotalMilliseconds) : null,
    };

    private static ulong Number(string setting, long value) => value >= 0
        ? (ulong)value
        : throw ClientErrors.Invalid($"{setting} is {value}; it is 0 for no limit, or more.");

    private static TopicSettings ToSettings(TopicConfig config) => new()
    {
        Partitions = (int)(config.Partitions ?? 1),
        MaxAge = Milliseconds(config.MaxAgeMs),
        MaxBytes = (long)(config.MaxBytes ?? 0),
        MaxRecords = (long)(config.MaxRecords ?? 0),
        MaxMessageBytes = (int)(config.MaxMessageBytes ?? 0),
        Compact = config.Compact ?? false,
        CompactAfter = Milliseconds(config.CompactAfterMs),
        DeleteMarkerAge = Milliseconds(config.DeleteMarkerMs),
    };

    private static TimeSpan Milliseconds(ulong? value) =>
        TimeSpan.FromMilliseconds(Math.Min(value ?? 0, (ulong)TimeSpan.MaxValue.TotalMilliseconds));

    private static TopicInfo ToInfo(TopicDescription topic) =>
        new(topic.Name, (int)topic.Shard, topic.FirstOffset, topic.NextOffset, topic.TopicId)
        {
            Partitions = topic.Partitions.Count == 0
                ? []
                : [.. topic.Partitions.Select(static each => new PartitionInfo(each.FirstOffset, each.NextOffset))],
        };
}
