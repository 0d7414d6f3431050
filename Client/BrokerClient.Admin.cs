using Broker.Client.Connections;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>The most that the brokers give at a time: few round trips.</summary>
    private const uint TopicsPerPage = 10_000;

    /// <summary>Topics whose name matches a filter, as the node that answers has applied them.</summary>
    /// <param name="filter">
    /// A topic name in which '*' stands for one token and a last '&gt;' for one or more. Default: all.
    /// </param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>The topics, ordered by name. Of many, <see cref="ListTopicsPageAsync"/> gets them by and by.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad filter. Unavailable: no broker answered for OperationTimeout.
    /// </exception>
    public async ValueTask<IReadOnlyList<TopicInfo>> ListTopicsAsync(
        string filter = ">", CancellationToken cancellationToken = default)
    {
        var topics = new List<TopicInfo>();
        var token = "";
        do
        {
            var page = await ListTopicsPageAsync(filter, token, cancellationToken);
            topics.AddRange(page.Topics);
            token = page.NextPageToken;
        }
        while (token.Length > 0);
        return topics;
    }

    /// <summary>The same, up to 10,000 topics at a time.</summary>
    /// <param name="filter">As in ListTopicsAsync: the same one for every page.</param>
    /// <param name="pageToken">NextPageToken of the page before. Empty: the first page.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>The page, ordered by name.</returns>
    /// <exception cref="BrokerClientException">As ListTopicsAsync.</exception>
    public async ValueTask<TopicPage> ListTopicsPageAsync(
        string filter, string pageToken, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentNullException.ThrowIfNull(pageToken);
        var request = new ListTopicsRequest { Filter = filter, PageSize = TopicsPerPage, PageToken = pageToken };
        var response = await CallAnyAsync(
            "Listing topics", (c, o) => c.Admin.ListTopicsAsync(request, o), cancellationToken);
        return new TopicPage(
            [.. response.Topics.Select(ToInfo)],
            response.NextPageToken);
    }

    /// <summary>
    /// Removes a topic's records before an offset, for good. The topic and its next offset stay: an offset is never
    /// given twice. Readers that ask for less get the first record that is kept. Purging again succeeds.
    /// </summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="beforeOffset">
    /// The first offset to keep. Null: none of what is stored is kept, in no partition. It counts in one partition; of
    /// several, use <see cref="PurgePartitionAsync"/>.
    /// </param>
    /// <param name="cancellationToken">Ends the waiting; the purge may take place all the same.</param>
    /// <returns>
    /// The first offset that is kept, the next one when nothing is; of several partitions the sum of theirs.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such topic. OutOfRange: the offset is beyond the end. InvalidArgument: a bad name, or a negative
    /// offset. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<long> PurgeTopicAsync(
        string topic, long? beforeOffset = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var request = new PurgeTopicRequest { Name = topic, BeforeOffset = beforeOffset };
        var response = await CallAnyAsync(
            $"Purging topic '{topic}'", (c, o) => c.Admin.PurgeTopicAsync(request, o), cancellationToken);
        return response.FirstOffsets.Sum();
    }

    /// <summary>The same for one partition of a topic.</summary>
    /// <param name="topic">An existing topic.</param>
    /// <param name="partition">The partition, from 0.</param>
    /// <param name="beforeOffset">The first offset to keep. Null: none of what is stored is kept.</param>
    /// <param name="cancellationToken">Ends the waiting; the purge may take place all the same.</param>
    /// <returns>The first offset that is kept; the partition's next one when nothing is.</returns>
    /// <exception cref="BrokerClientException">As PurgeTopicAsync. NotFound: no such partition, too.</exception>
    public async ValueTask<long> PurgePartitionAsync(
        string topic, int partition, long? beforeOffset = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentOutOfRangeException.ThrowIfNegative(partition);
        var request = new PurgeTopicRequest
        {
            Name = topic,
            Partition = (uint)partition,
            BeforeOffset = beforeOffset,
        };
        var response = await CallAnyAsync(
            $"Purging partition {partition} of topic '{topic}'",
            (c, o) => c.Admin.PurgeTopicAsync(request, o),
            cancellationToken);
        return response.FirstOffsets[0];
    }

    /// <summary>What a broker is, has and takes; during an upgrade each may say something else.</summary>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>What the node that answered says of itself.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no broker answered for OperationTimeout.</exception>
    public async ValueTask<ServerInfo> GetServerInfoAsync(CancellationToken cancellationToken = default)
    {
        var response = await CallAnyAsync(
            "Asking a broker what it is",
            (c, o) => c.Admin.GetServerInfoAsync(new GetServerInfoRequest(), o),
            cancellationToken);
        return new ServerInfo(
            response.Version,
            [.. response.Features],
            (int)response.Limits.MessageBytes,
            (int)response.Limits.BatchBytes,
            (int)response.Limits.BatchRecords,
            (int)response.Limits.Topics);
    }

    /// <summary>The cluster as any live node sees it.</summary>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Nodes, shards and leaders.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no broker answered for OperationTimeout.</exception>
    public async ValueTask<ClusterInfo> DescribeClusterAsync(CancellationToken cancellationToken = default) =>
        ToInfo(await CallAnyAsync(
            "Describing the cluster",
            (c, o) => c.Admin.DescribeClusterAsync(new DescribeClusterRequest(), o),
            cancellationToken));

    /// <summary>
    /// The cluster as one given node sees it, with that node's own Raft figures. Asked once, without a retry.
    /// </summary>
    /// <param name="address">Base address of the node's gRPC endpoint.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Nodes, shards and leaders.</returns>
    /// <exception cref="BrokerClientException">
    /// Unavailable: the node does not answer within twice AnswerTimeout. InvalidArgument: no http or https address.
    /// </exception>
    public async ValueTask<ClusterInfo> DescribeNodeAsync(Uri address, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        var connection = Find(address);
        try
        {
            return ToInfo(await connection.Admin.DescribeClusterAsync(
                new DescribeClusterRequest(), TryOptions(cancellationToken)));
        }
        catch (RpcException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw ClientErrors.CallFailed("Describing a node", 1, connection.Address, error, gaveUp: true);
        }
    }

    /// <summary>
    /// Has a shard go on from one node's replica alone, when so many others have lost what they promised that no leader
    /// can be elected. What only the others had is lost for good. Asked once, without a retry; never do it from two
    /// nodes.
    /// </summary>
    /// <param name="address">Base address of the gRPC endpoint of that node.</param>
    /// <param name="shard">The shard; 0 is the one of the cluster's metadata.</param>
    /// <param name="nodeId">The node's number.</param>
    /// <param name="operatorName">Who orders it, 1 to 255 characters; it is written down.</param>
    /// <param name="confirmation">
    /// Confirmation of the answer to the same call without one. Empty, the default: nothing is done, the answer says
    /// what would be.
    /// </param>
    /// <param name="goneNodes">Nodes that are away and never come back with what they have. Null: none.</param>
    /// <param name="cancellationToken">Ends the waiting; the recovery may take place all the same.</param>
    /// <returns>What was done, or would be.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such shard. InvalidArgument: another node than the one that is asked, or another confirmation.
    /// FailedPrecondition: it is not the last resort, or not from there; the message says why. OutcomeUnknown: not done
    /// in time. Unavailable: the node does not answer within twice AnswerTimeout.
    /// </exception>
    public async ValueTask<RecoveryReport> ForceRecoveryAsync(
        Uri address,
        int shard,
        int nodeId,
        string operatorName,
        string confirmation = "",
        IReadOnlyList<int>? goneNodes = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentNullException.ThrowIfNull(operatorName);
        ArgumentNullException.ThrowIfNull(confirmation);
        ArgumentOutOfRangeException.ThrowIfNegative(shard);
        ArgumentOutOfRangeException.ThrowIfNegative(nodeId);
        var connection = Find(address);
        var request = new ForceRecoveryRequest
        {
            Shard = (uint)shard,
            NodeId = (uint)nodeId,
            Operator = operatorName,
            Confirmation = confirmation,
            GoneNodes = { (goneNodes ?? []).Select(static gone => (uint)gone) },
        };
        try
        {
            var response = await connection.Admin.ForceRecoveryAsync(request, TryOptions(cancellationToken));
            return new RecoveryReport(response.Report, response.Confirmation, response.Done);
        }
        catch (RpcException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw ClientErrors.CallFailed("Forcing a recovery", 1, connection.Address, error, gaveUp: false);
        }
    }

    /// <summary>
    /// Tells the brokers to publish batches of matching topics live on Redis. Replicated; a second call with the same
    /// name replaces the filters.
    /// </summary>
    /// <param name="name">The subscriber's own name, 1 to 255 bytes.</param>
    /// <param name="filters">Topic filters, 1 to 100.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Completes when it is committed.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name or filter. ResourceExhausted: too many subscriptions. Unavailable: no leader for
    /// OperationTimeout.
    /// </exception>
    public async ValueTask PutLiveSubscriptionAsync(
        string name, IReadOnlyList<string> filters, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(filters);
        var request = new PutLiveSubscriptionRequest { Name = name };
        request.Filters.AddRange(filters);
        await CallAnyAsync(
            $"Putting live subscription '{name}'",
            (c, o) => c.Admin.PutLiveSubscriptionAsync(request, o),
            cancellationToken);
    }

    /// <summary>Ends a live subscription. Removing one that does not exist succeeds.</summary>
    /// <param name="name">The subscriber's own name.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Completes when it is committed.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no leader for OperationTimeout.</exception>
    public async ValueTask DeleteLiveSubscriptionAsync(string name, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        await CallAnyAsync(
            $"Deleting live subscription '{name}'",
            (c, o) => c.Admin.DeleteLiveSubscriptionAsync(new DeleteLiveSubscriptionRequest { Name = name }, o),
            cancellationToken);
    }

    /// <summary>
    /// Asks one broker after the other until one answers. All these calls may be repeated: they read, or set something
    /// by its name.
    /// </summary>
    private async Task<TResponse> CallAnyAsync<TResponse>(
        string what,
        Func<BrokerConnection, CallOptions, AsyncUnaryCall<TResponse>> method,
        CancellationToken cancellationToken,
        Action<RpcException>? onRetry = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var begun = _time.GetTimestamp();
        for (var tries = 1; ; tries++)
        {
            var connection = _connections.Next();
            try
            {
                using var call = method(connection, TryOptions(cancellationToken));
                var response = await call;
                connection.Worked();
                return response;
            }
            catch (RpcException error) when (cancellationToken.IsCancellationRequested)
            {
                throw new OperationCanceledException($"{what} was cancelled.", error, cancellationToken);
            }
            catch (RpcException error)
            {
                var elapsed = _time.GetElapsedTime(begun);
                if (!MayRetry(error) || elapsed >= _options.OperationTimeout)
                {
                    throw ClientErrors.CallFailed(what, tries, connection.Address, error, gaveUp: MayRetry(error));
                }

                onRetry?.Invoke(error);
                ClientLog.CallFailed(_logger, what, connection.Address, $"{error.StatusCode}: {error.Status.Detail}");
                connection.Failed(error, hangs: error.StatusCode == StatusCode.DeadlineExceeded);
                if (tries >= _connections.All.Count)
                {
                    await Task.Delay(RetryDelay.After(elapsed, _options), _time, cancellationToken);
                }
            }
        }
    }

    private BrokerConnection Find(Uri address)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _connections.Find(address.AbsoluteUri) ?? throw ClientErrors.Invalid(
            $"'{address}' is no address of a broker; expected an http or https base address, "
            + "for example http://localhost:7001.");
    }

    private static bool MayRetry(RpcException error) => error.StatusCode is StatusCode.Unavailable or StatusCode.Aborted
        or StatusCode.DeadlineExceeded or StatusCode.Cancelled or StatusCode.Internal or StatusCode.Unknown;

    private CallOptions TryOptions(CancellationToken cancellationToken)
    {
        var deadline = _time.GetUtcNow() + (_options.AnswerTimeout * 2);
        return new CallOptions(deadline: deadline.UtcDateTime, cancellationToken: cancellationToken);
    }

    private static ClusterInfo ToInfo(DescribeClusterResponse response) => new(
        response.ClusterId,
        (int)response.ThisNode,
        [.. response.Nodes.Select(n => new NodeInfo((int)n.NodeId, n.Name, n.Address, n.Connected, (int)n.ProcessId)
        {
            State = (NodeStatus)n.State,
            Draining = n.Draining,
            IsController = n.Roles.Count == 0 || n.Roles.Contains(NodeRole.Controller),
            HoldsTopics = n.Roles.Count == 0 || n.Roles.Contains(NodeRole.Data),
        })],
        [
            .. response.Shards.Select(g => new ShardInfo(
                (int)g.Shard,
                (int)g.Leader,
                (long)g.Term,
                (long)g.CommitIndex,
                (long)g.AppliedIndex,
                (long)g.LastIndex,
                g.Role)
            {
                Voters = [.. g.Voters.Select(static each => (int)each)],
                Learners = [.. g.Learners.Select(static each => (int)each)],
                PreferredLeader = (int)g.PreferredLeader,
                PlacedVoters = [.. g.PlacedVoters.Select(static each => (int)each)],
                SegmentsElsewhere = (int)g.SegmentsElsewhere,
            }),
        ])
    {
        ShardVoters = (int)response.ShardVoters,
        OnlyVotersKeepRecords = response.OnlyVotersKeepRecords,
    };
}
