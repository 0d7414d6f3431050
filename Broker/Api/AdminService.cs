using System.Buffers;
using System.Text;
using Broker.Client;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The service broker.v1.Admin. Questions are answered from this node; a change goes to the leader of the group that it
/// concerns.
/// </summary>
internal sealed partial class AdminService(
    BrokerNode node,
    AdminForwarder forwarder,
    ReadCatchUp catchUp,
    TopicMaker maker,
    GroupAdmin groups,
    DeadLetterAdmin deadLetters,
    GroupPeeks peeks,
    DataNodes dataNodes,
    TimeProvider time)
    : Admin.AdminBase
{
    private const int NameBytes = 255;

    public override Task<GetServerInfoResponse> GetServerInfo(
        GetServerInfoRequest request, ServerCallContext context) => Task.FromResult(new GetServerInfoResponse
        {
            Version = typeof(AdminService).Assembly.GetName().Version?.ToString(3) ?? "",
            Features =
            {
                "atomic-publish", "compaction", "consume-and-publish", "consumer-groups", "dead-letters",
                "delayed-delivery", "drain",
                "error-reasons", "eviction", "expected-offset", "force-recovery", "group-modes", "group-orders",
                "group-peek", "http", "linearizable-reads", "membership", "node-roles", "partitions",
                "purge-by-time", "read-from-time", "read-last-per-key", "shard-replicas", "shard-voters", "subscribe",
                "times-to-live",
                "topic-ids",
                "topic-settings", "topic-templates",
            },
            Limits = new ServerLimits
            {
                MessageBytes = Limits.RecordBytes,
                BatchBytes = Limits.BatchBytes,
                BatchRecords = Limits.RecordsPerBatch,
                KeyBytes = Limits.KeyBytes,
                Headers = Limits.HeadersPerRecord,
                HeaderBytes = Limits.HeaderBytes,
                TopicNameBytes = Limits.TopicNameBytes,
                Topics = Limits.Topics,
                PublishesInFlight = Limits.PublishesInFlightPerStream,
                Partitions = Limits.PartitionsPerTopic,
            },
        });

    public override async Task<PutLiveSubscriptionResponse> PutLiveSubscription(
        PutLiveSubscriptionRequest request, ServerCallContext context)
    {
        CheckName(request.Name);
        if (request.Filters.Count is 0 or > Limits.FiltersPerLiveSubscription)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A live subscription has 1 to {Limits.FiltersPerLiveSubscription} filters, "
                + $"not {request.Filters.Count}."));
        }

        foreach (var filter in request.Filters)
        {
            ParseFilter(filter);
        }

        var command = new ArrayBufferWriter<byte>();
        ClusterCommands.WritePutLiveSubscription(command, request.Name, request.Filters);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.PutLiveSubscriptionAsync(message, options),
            request,
            static result => CheckTaken(result, new PutLiveSubscriptionResponse()),
            context);
    }

    public override async Task<DeleteLiveSubscriptionResponse> DeleteLiveSubscription(
        DeleteLiveSubscriptionRequest request, ServerCallContext context)
    {
        CheckName(request.Name);
        var command = new ArrayBufferWriter<byte>();
        ClusterCommands.WriteDeleteLiveSubscription(command, request.Name);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.DeleteLiveSubscriptionAsync(message, options),
            request,
            static result => CheckTaken(result, new DeleteLiveSubscriptionResponse()),
            context);
    }

    public override Task<ListLiveSubscriptionsResponse> ListLiveSubscriptions(
        ListLiveSubscriptionsRequest request, ServerCallContext context)
    {
        var size = PageSize(request.PageSize, Limits.LiveSubscriptionsPerPage, Limits.LiveSubscriptionsPerPage);
        var found = node.Metadata.Current.LiveSubscriptions.Values
            .Where(known => string.CompareOrdinal(known.Name, request.PageToken) > 0)
            .OrderBy(known => known.Name, StringComparer.Ordinal)
            .Take(size + 1)
            .ToList();
        var response = new ListLiveSubscriptionsResponse();
        foreach (var known in found.Take(size))
        {
            var subscription = new Protocol.V1.LiveSubscription { Name = known.Name };
            subscription.Filters.AddRange(known.Filters);
            response.Subscriptions.Add(subscription);
        }

        response.NextPageToken = found.Count > size ? response.Subscriptions[^1].Name : "";
        return Task.FromResult(response);
    }

    private static int PageSize(uint wanted, int whenZero, int most) =>
        wanted == 0 ? whenZero : (int)Math.Min(wanted, (uint)most);

    /// <summary>Commits a change here when this node leads the group, else has the leader do it.</summary>
    private Task<TResponse> ChangeAsync<TRequest, TResponse>(
        GroupId group,
        ReadOnlyMemory<byte> command,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> forward,
        TRequest request,
        Func<CommandResult, TResponse> done,
        ServerCallContext context) =>
        ChangeAsync(group, () => Task.FromResult(command), forward, request, done, context);

    /// <summary>The same with a command that the leader alone can make.</summary>
    private async Task<TResponse> ChangeAsync<TRequest, TResponse>(
        GroupId group,
        Func<Task<ReadOnlyMemory<byte>>> command,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> forward,
        TRequest request,
        Func<CommandResult, TResponse> done,
        ServerCallContext context)
    {
        try
        {
            return await forwarder.ChangeAsync(
                group,
                command,
                forward,
                request,
                done,
                AdminForwarder.IsForwarded(context),
                context.CancellationToken);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    private static TResponse CheckTaken<TResponse>(in CommandResult result, TResponse response) =>
        result.Code == RefusalCode.None
            ? response
            : throw Refusal.Exhausted(
                $"The cluster holds {Limits.LiveSubscriptions:N0} live subscriptions already. "
                + "Delete one that nobody uses.");

    private static void CheckName(string name)
    {
        if (name.Contains('\uFFFD', StringComparison.Ordinal))
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                "A live subscription's name has the replacement character U+FFFD, which stands for bytes that are not "
                + "UTF-8."));
        }

        if (name.Length == 0 || Encoding.UTF8.GetByteCount(name) > NameBytes)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A live subscription's name has 1 to {NameBytes} bytes; "
                + $"this one has {Encoding.UTF8.GetByteCount(name)}."));
        }
    }

    private static TopicFilter ParseFilter(string text) => TopicFilter.TryParse(text, out var filter, out var reason)
        ? filter
        : throw StatusMap.ToRpcException(Refusal.InvalidArgument(reason));
}
