using System.Buffers;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;
using Contract = Broker.Protocol.V1;

namespace Broker.Api;

/// <content>How topics come to be: by their first publish or not, and with which settings.</content>
internal sealed partial class AdminService
{
    public override async Task<PutTopicTemplateResponse> PutTopicTemplate(
        PutTopicTemplateRequest request, ServerCallContext context)
    {
        var filter = ParseFilter(request.Filter);
        if (request.Filter.StartsWith('$'))
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"The filter '{request.Filter}' begins with '$': the broker's own topics follow no template."));
        }

        var (settings, parts) = TopicConfigs.Read(request.Config);
        var template = new Topics.TopicTemplate(filter, (int)(request.Config?.Partitions ?? 0), parts, settings);
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WritePutTemplate(command, template);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.PutTopicTemplateAsync(message, options),
            request,
            static result => result.Code switch
            {
                RefusalCode.None => new PutTopicTemplateResponse(),
                _ => throw Refusal.Exhausted(
                    $"The cluster holds {Limits.TopicTemplates:N0} topic templates already. Delete one that is not "
                    + "needed, or have a filter with a wildcard stand for several."),
            },
            context);
    }

    public override async Task<DeleteTopicTemplateResponse> DeleteTopicTemplate(
        DeleteTopicTemplateRequest request, ServerCallContext context)
    {
        ParseFilter(request.Filter);
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WriteDeleteTemplate(command, request.Filter);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.DeleteTopicTemplateAsync(message, options),
            request,
            static _ => new DeleteTopicTemplateResponse(),
            context);
    }

    public override Task<ListTopicTemplatesResponse> ListTopicTemplates(
        ListTopicTemplatesRequest request, ServerCallContext context)
    {
        var size = PageSize(request.PageSize, Limits.TemplatesPerPage, Limits.TemplatesPerPage);
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
        return Task.FromResult(response);
    }

    public override async Task<SetAutoCreateResponse> SetAutoCreate(
        SetAutoCreateRequest request, ServerCallContext context)
    {
        var command = new ArrayBufferWriter<byte>();
        TopicPolicyCommands.WriteSetAutoCreate(command, request.Enabled);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.SetAutoCreateAsync(message, options),
            request,
            static _ => new SetAutoCreateResponse(),
            context);
    }
}
