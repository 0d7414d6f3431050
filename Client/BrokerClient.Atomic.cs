using Broker.Client.Publishing;
using Google.Protobuf;
using Grpc.Core;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    private readonly AtomicLanes _atomicLanes = new(RandomProducerId);

    /// <summary>
    /// Publishes to several topics at once: all messages are stored, or none is. The topics must lie in one shard;
    /// those whose names have the same word in braces do, e.g. "orders.{42}.created" and "invoices.{42}". Stored once,
    /// whatever is retried. Calls have no order among each other: await one before the next where that matters.
    /// </summary>
    /// <param name="parts">1 to 1,000, in the order in which they are stored; together at most about 4 MiB.</param>
    /// <param name="cancellationToken">Ends the waiting; the messages may be stored all the same.</param>
    /// <returns>
    /// For each part the offset of its first message, when all of them are on the disks of a majority of the brokers.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// FailedPrecondition with the reason DIFFERENT_SHARDS: the topics lie in several shards. UnexpectedOffset: a
    /// part's condition does not hold. OutcomeUnknown: sent, and no answer within OperationTimeout; all is stored, or
    /// nothing. InvalidArgument, NotFound, ResourceExhausted, Unavailable: as for PublishAsync. Nothing was stored,
    /// unless the outcome is unknown.
    /// </exception>
    public ValueTask<IReadOnlyList<PublishAck>> PublishAtomicAsync(
        IReadOnlyList<AtomicPart> parts, CancellationToken cancellationToken = default) =>
        PublishAtomicAsync(parts, [], cancellationToken);

    /// <summary>
    /// The same together with the acknowledgement of records that were consumed: what was made of them is stored and
    /// they are finished, or neither. So of a record there is one result, however often it is delivered. The topics and
    /// those of the records must lie in one shard.
    /// </summary>
    /// <param name="parts">As above.</param>
    /// <param name="acks">
    /// Records of any consumers and groups; at most 1,000. Those that follow each other in a delivery cost least.
    /// </param>
    /// <param name="cancellationToken">As above.</param>
    /// <returns>As above; the records are finished then.</returns>
    /// <exception cref="BrokerClientException">
    /// As above, and LeaseLost: a record is not the consumer's any more; nothing was published, and none acknowledged.
    /// </exception>
    public async ValueTask<IReadOnlyList<PublishAck>> PublishAtomicAsync(
        IReadOnlyList<AtomicPart> parts,
        IReadOnlyCollection<GroupRecord> acks,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(parts);
        ArgumentNullException.ThrowIfNull(acks);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        var request = new Wire.PublishAtomicRequest();
        request.Acks.AddRange(acks.Select(static record => record.Range));
        foreach (var part in parts)
        {
            request.Parts.Add(ToRequest(part));
        }

        var lane = await _atomicLanes.TakeAsync(cancellationToken);
        try
        {
            Stamp(request, parts, lane);
            var answers = await PublishStampedAsync(request, cancellationToken);
            foreach (var record in acks)
            {
                record.Free();
            }

            return answers;
        }
        finally
        {
            _atomicLanes.GiveBack(lane);
        }
    }

    private static Wire.PublishRequest ToRequest(AtomicPart part)
    {
        if (!TopicName.ValidateForPublish(part.Topic, out var reason))
        {
            throw ClientErrors.Invalid(reason);
        }

        if (part.Messages.Count == 0)
        {
            throw ClientErrors.Invalid($"The part for topic '{part.Topic}' has no message. Nothing was stored.");
        }

        foreach (var message in part.Messages)
        {
            if (MessageLimits.Violation(message) is { } violation)
            {
                throw ClientErrors.Invalid($"A message for topic '{part.Topic}' was not taken. {violation}");
            }
        }

        return new Wire.PublishRequest
        {
            Topic = part.Topic,
            Batch = UnsafeByteOperations.UnsafeWrap(RecordBatchEncoder.Encode(part.Messages)),
            Partition = (uint?)part.Partition,
            ExpectedOffset = part.ExpectedOffset,
        };
    }

    private static void Stamp(
        Wire.PublishAtomicRequest request, IReadOnlyList<AtomicPart> parts, AtomicLane lane)
    {
        var next = new Dictionary<(string Topic, int? Partition), ulong>();
        for (var at = 0; at < parts.Count; at++)
        {
            var place = (parts[at].Topic, parts[at].Partition);
            var sequence = next.GetValueOrDefault(place);
            next[place] = sequence + (ulong)parts[at].Messages.Count;
            request.Parts[at].Producer = new Wire.ProducerStamp
            {
                Id = lane.Id,
                Epoch = lane.Epoch,
                Sequence = sequence,
            };
        }
    }

    private async Task<IReadOnlyList<PublishAck>> PublishStampedAsync(
        Wire.PublishAtomicRequest request, CancellationToken cancellationToken)
    {
        var what = $"Publishing to {request.Parts.Count:N0} topics at once";
        var isUncertain = false;
        try
        {
            var response = await CallAnyAsync(
                what,
                (c, o) => c.Messages.PublishAtomicAsync(request, o),
                cancellationToken,
                error => isUncertain |= error.StatusCode != StatusCode.Unavailable
                    || ClientErrors.ReasonOf(error).Length == 0);
            return [.. response.Parts.Select((stored, at) => new PublishAck(
                request.Parts[at].Topic,
                stored.BaseOffset,
                DateTimeOffset.FromUnixTimeMilliseconds(stored.TimestampUnixMs),
                stored.Duplicate,
                (int)stored.Partition))];
        }
        catch (BrokerClientException failure) when (
            isUncertain
            && failure is { Code: BrokerClientErrorCode.Unavailable, InnerException: RpcException last })
        {
            throw ClientErrors.Unclear(what, last);
        }
    }
}
