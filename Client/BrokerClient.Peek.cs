using System.Runtime.CompilerServices;
using Broker.Protocol.V1;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    private const int RecordsPerPeek = 1_000;

    /// <summary>
    /// Records of a group that are in one state, by topic, partition and offset. What changes its state meanwhile may
    /// be missing; no record comes twice.
    /// </summary>
    /// <param name="group">An existing group.</param>
    /// <param name="state">Which records are wanted.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>As the leaders of the shards know them; asked for by pages, as far as they are wanted.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group. Unavailable: a shard had no leader for OperationTimeout. Unimplemented: a broker of an
    /// earlier version.
    /// </exception>
    public async IAsyncEnumerable<PeekedRecord> PeekGroupAsync(
        string group, DeliveryState state, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        var request = new PeekGroupRequest
        {
            Group = group,
            State = (Protocol.V1.DeliveryState)state,
            PageSize = RecordsPerPeek,
        };
        do
        {
            var page = await CallAnyAsync(
                $"Peeking at group '{group}'",
                (c, o) => c.Admin.PeekGroupAsync(request, Patient(o)),
                cancellationToken);
            foreach (var record in page.Records)
            {
                yield return ToPeeked(record);
            }

            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    private static PeekedRecord ToPeeked(Protocol.V1.PeekedRecord record) =>
        new(record.Topic, (int)record.Partition, record.Offset, (int)record.Deliveries)
        {
            Consumer = record.Consumer,
            NodeId = (int)record.NodeId,
            LeaseEnd = Time(record.LeaseEndUnixMs),
            Due = Time(record.DueUnixMs),
            Reason = record.Reason,
            DeadPosition = record.DeadPosition is { } position
                ? new DeadLetterPosition((int)position.Partition, position.Offset)
                : null,
        };

    private static DateTimeOffset? Time(long unixMs) =>
        unixMs == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(unixMs);
}
