using System.Runtime.CompilerServices;
using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;
using Broker.Transport;
using Grpc.Core;
using WireClient = Broker.Protocol.Wire.Broker.BrokerClient;

namespace Broker.Api;

/// <summary>
/// Reads at another node what this one's replica cannot give: because others are to keep it, or because a segment waits
/// for its repair. Voters keep all, so they are asked, by turns. What one of them cannot give either it says, and the
/// next one is asked: nobody passes such a read on again.
/// </summary>
internal sealed class ReadElsewhere(BrokerNode node) : IReadElsewhere, IDisposable
{
    private readonly PeerChannels _channels = new(watched: true);
    private readonly ByTurns _turns = new();

    public async ValueTask<ReadPage?> ReadPageAsync(
        GroupId shard, TopicId topic, string name, long offset, CancellationToken cancellationToken)
    {
        var (topicName, partition) = PartitionName.Parse(name);
        var request = new ReadRequest
        {
            Topic = topicName,
            Partition = (uint)partition,
            TopicId = topic.Value,
            Offset = offset,
            MaxRecords = 1, // With its page, which may have many.
        };
        await foreach (var page in ReadAsync(shard, request, cancellationToken))
        {
            return page;
        }

        return null;
    }

    /// <summary>
    /// The pages of a read at the first voter that has something to say; none: nobody can be asked, or all are as this
    /// node. A voter that breaks off ends it, too: who has got something asks again from there on.
    /// </summary>
    /// <exception cref="RpcException">What a voter says of the topic or the offset.</exception>
    public async IAsyncEnumerable<ReadPage> ReadAsync(
        GroupId shard, ReadRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var voters = node.Group(shard).Status.Condition.Configuration.Voters;
        foreach (var voter in _turns.List(node, voters.Where(voter => voter != node.Options.NodeId)))
        {
            var headers = new Metadata { { LeaderForwarder.ForwardedHeader, "1" } };
            using var call = new WireClient(_channels.To(voter.Address)).Read(
                request, headers, cancellationToken: cancellationToken);
            var isAnswered = false;
            while (await TryMoveNextAsync(call, cancellationToken))
            {
                isAnswered = true;
                yield return ToPage(call.ResponseStream.Current);
            }

            if (isAnswered)
            {
                yield break;
            }
        }
    }

    public void Dispose() => _channels.Dispose();

    /// <summary>False: it is at its end, or cannot give it.</summary>
    private static async Task<bool> TryMoveNextAsync(
        AsyncServerStreamingCall<ReadResponse> call, CancellationToken cancellationToken)
    {
        try
        {
            return await call.ResponseStream.MoveNext(cancellationToken);
        }
        catch (RpcException failure) when (failure.StatusCode is StatusCode.FailedPrecondition
            or StatusCode.Unavailable or StatusCode.Internal && !cancellationToken.IsCancellationRequested)
        {
            return false;
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }

    private static ReadPage ToPage(ReadResponse response) => new(
        [.. response.Batches.Select(static batch => new CommittedBatch(
            batch.BaseOffset, (int)batch.Count, batch.TimestampUnixMs, batch.Batch.Memory))],
        response.NextOffset,
        response.HighWatermark,
        new TopicId(response.TopicId));
}
