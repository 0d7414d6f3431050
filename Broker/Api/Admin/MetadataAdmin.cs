using System.Buffers;
using System.Text;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Topics;
using Contract = Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// What operators set for topics that need not be there yet, all of it in the metadata group: what goes live to Redis,
/// and how topics come to be, by their first publish or not, and with which settings.
/// </summary>
internal sealed class MetadataAdmin(BrokerNode node, AdminForwarder forwarder)
{
    public async Task<PutLiveSubscriptionResponse> PutLiveSubscriptionAsync(
        PutLiveSubscriptionRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        CheckName(request.Name);
        if (request.Filters.Count is 0 or > Limits.FiltersPerLiveSubscription)
        {
            throw Refusal.InvalidArgument(
                $"A live subscription has 1 to {Limits.FiltersPerLiveSubscription} filters, "
                + $"not {request.Filters.Count}.");
        }

        foreach (var filter in request.Filters)
        {
            TopicFinder.ParseFilter(filter);
        }

        var command = new ArrayBufferWriter<byte>();
        ClusterCommands.WritePutLiveSubscription(command, request.Name, request.Filters);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.PutLiveSubscriptionAsync(message, options),
            request,
            static result => CheckTaken(result, new PutLiveSubscriptionResponse()),
            isForwarded,
            cancellationToken);
    }

    public async Task<DeleteLiveSubscriptionResponse> DeleteLiveSubscriptionAsync(
        DeleteLiveSubscriptionRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        CheckName(request.Name);
        var command = new ArrayBufferWriter<byte>();
        ClusterCommands.WriteDeleteLiveSubscription(command, request.Name);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.DeleteLiveSubscriptionAsync(message, options),
            request,
            static result => CheckTaken(result, new DeleteLiveSubscriptionResponse()),
            isForwarded,
            cancellationToken);
    }

    public ListLiveSubscriptionsResponse ListLiveSubscriptions(ListLiveSubscriptionsRequest request)
    {
        var size = PageTokens.SizeOf(
            request.PageSize, Limits.LiveSubscriptionsPerPage, Limits.LiveSubscriptionsPerPage);
        var found = node.Metadata.Current.LiveSubscriptions.Values
            .Where(known => string.CompareOrdinal(known.Name, request.PageToken) > 0)
            .OrderBy(known => known.Name, StringComparer.Ordinal)
            .Take(size + 1)
            .ToList();
        var response = new ListLiveSubscriptionsResponse();
        foreach (var known in found.Take(size))
        {
            var subscription = new Contract.LiveSubscription { Name = known.Name };
            subscription.Filters.AddRange(known.Filters);
            response.Subscriptions.Add(subscription);
        }

        response.NextPageToken = found.Count > size ? response.Subscriptions[^1].Name : "";
        return response;
    }

    public async Task<PutTopicTemplateResponse> PutTopicTemplateAsync(
        PutTopicTemplateRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        var filter = TopicFinder.ParseFilter(request.Filter);
        if (request.Filter.StartsWith('$'))
        {
            throw Refusal.InvalidArgument(
                $"The filter '{request.Filter}' begins with '$': the broker's own topics follow no template.");
        }

        var (settings, parts) = TopicConfigs.Read(request.Config);
        var template = new Topics.TopicTemplate(filter, (int)(request.Config?.Partitions ?? 0), parts, settings);
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WritePutTemplate(command, template);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.PutTopicTemplateAsync(message, options),
            request,
            static result => result.Code switch
            {
                RefusalCode.None => new PutTopicTemplateResponse(),
                _ => throw Refusal.Exhausted(
                    $"The cluster holds {Limits.TopicTemplates:N0} topic templates already. Delete one that is not "
                    + "needed, or have a filter with a wildcard stand for several."),
            },
            isForwarded,
            cancellationToken);
    }

    public async Task<DeleteTopicTemplateResponse> DeleteTopicTemplateAsync(
        DeleteTopicTemplateRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        TopicFinder.ParseFilter(request.Filter);
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WriteDeleteTemplate(command, request.Filter);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.DeleteTopicTemplateAsync(message, options),
            request,
            static _ => new DeleteTopicTemplateResponse(),
            isForwarded,
            cancellationToken);
    }

    public ListTopicTemplatesResponse ListTopicTemplates(ListTopicTemplatesRequest request)
    {
        var size = PageTokens.SizeOf(request.PageSize, Limits.TemplatesPerPage, Limits.TemplatesPerPage);
        var policies = node.TopicPolicies;
        var found = policies.Templates
            .Where(known => string.CompareOrdinal(known.Key, request.PageToken) > 0)
            .Take(size + 1)
            .ToList();
        var response = new ListTopicTemplatesResponse { AutoCreate = policies.AutoCreate };
        foreach (var (filter, template) in found.Take(size))
        {
            response.Templates.Add(new Contract.TopicTemplate
            {
                Filter = filter,
                Config = TopicConfigs.WriteSet(template),
            });
        }

        response.NextPageToken = found.Count > size ? response.Templates[^1].Filter : "";
        return response;
    }

    public async Task<SetAutoCreateResponse> SetAutoCreateAsync(
        SetAutoCreateRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WriteSetAutoCreate(command, request.Enabled);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.SetAutoCreateAsync(message, options),
            request,
            static _ => new SetAutoCreateResponse(),
            isForwarded,
            cancellationToken);
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
            throw Refusal.InvalidArgument(
                "A live subscription's name has the replacement character U+FFFD, which stands for bytes that are not "
                + "UTF-8.");
        }

        if (name.Length == 0 || Encoding.UTF8.GetByteCount(name) > Limits.OperatorNameBytes)
        {
            throw Refusal.InvalidArgument(
                $"A live subscription's name has 1 to {Limits.OperatorNameBytes} bytes; "
                + $"this one has {Encoding.UTF8.GetByteCount(name)}.");
        }
    }
}
