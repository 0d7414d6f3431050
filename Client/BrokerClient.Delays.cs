using System.Runtime.CompilerServices;
using Broker.Protocol.V1;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Messages of a topic that consumer groups are to get later (<see cref="BrokerMessage.DeliverAt"/>), as of when
    /// each page was asked for.
    /// </summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="partition">Only this partition; null: all.</param>
    /// <param name="cancellationToken">Ends the listing.</param>
    /// <returns>By partition and offset.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic or partition. InvalidArgument: a bad name. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async IAsyncEnumerable<DelayedMessage> ListDelayedAsync(
        string topic,
        int? partition = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var request = new ListDelayedRequest { Topic = topic, Partition = (uint?)partition };
        do
        {
            var response = await CallAnyAsync(
                $"Listing delayed messages of topic '{topic}'",
                (c, o) => c.Admin.ListDelayedAsync(request, Patient(o)),
                cancellationToken);
            foreach (var record in response.Records)
            {
                var deliverAt = record.DeliverAtUnixMs < DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()
                    ? DateTimeOffset.FromUnixTimeMilliseconds(record.DeliverAtUnixMs)
                    : DateTimeOffset.MaxValue;
                yield return new DelayedMessage((int)record.Partition, record.Offset, deliverAt);
            }

            request.PageToken = response.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    /// <summary>
    /// Consumer groups that have not got them yet do not get these messages. They stay in the topic, for reads.
    /// </summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="offsets">1 to 10,000, from the answers to publishes, or from ListDelayedAsync.</param>
    /// <param name="partition">Their partition, from 0.</param>
    /// <param name="cancellationToken">Ends the waiting; they may be cancelled all the same.</param>
    /// <returns>
    /// How many of them were delayed until now: what was due already, or is not delayed, is passed over. Of a try that
    /// got no answer it does not know.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic or partition. InvalidArgument: a bad name, no offset, too many, a negative one.
    /// Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<int> CancelDelayedAsync(
        string topic,
        IEnumerable<long> offsets,
        int partition = 0,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentNullException.ThrowIfNull(offsets);
        ArgumentOutOfRangeException.ThrowIfNegative(partition);
        var request = new CancelDelayedRequest { Topic = topic, Partition = (uint)partition };
        request.Offsets.AddRange(offsets);
        var response = await CallAnyAsync(
            $"Cancelling delayed messages of topic '{topic}'",
            (c, o) => c.Admin.CancelDelayedAsync(request, Patient(o)),
            cancellationToken);
        return (int)response.Count;
    }
}

/// <summary>A message that consumer groups are to get later.</summary>
/// <param name="Partition">Where it is stored, from 0.</param>
/// <param name="Offset">Its offset there.</param>
/// <param name="DeliverAt">When they get it; what is beyond the year 9999 is its end.</param>
public sealed record DelayedMessage(int Partition, long Offset, DateTimeOffset DeliverAt);
