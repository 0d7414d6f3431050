using Broker.Protocol.V1;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    private const uint TemplatesPerPage = 100;

    /// <summary>
    /// Puts a template for topics to come: what one whose name matches the filter is given when it is made, by its
    /// first publish or by <see cref="CreateTopicAsync"/>. Of several that match, the most specific one holds: at the
    /// first token in which filters differ, a word goes before '*', and '*' before '&gt;'. A second call for the same
    /// filter replaces the settings.
    /// </summary>
    /// <param name="filter">Which topics.</param>
    /// <param name="settings">What they are given; null parts are the default, or what the request says.</param>
    /// <param name="cancellationToken">Ends the waiting; the template may be there all the same.</param>
    /// <returns>Completes when it is committed.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad filter or setting. ResourceExhausted: too many templates. Unavailable: no leader for
    /// OperationTimeout.
    /// </exception>
    public async ValueTask PutTopicTemplateAsync(
        string filter, TopicSettings settings, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentNullException.ThrowIfNull(settings);
        var request = new PutTopicTemplateRequest { Filter = filter, Config = ToConfig(settings) };
        await CallAnyAsync(
            $"Putting the topic template for '{filter}'",
            (c, o) => c.Admin.PutTopicTemplateAsync(request, o),
            cancellationToken);
    }

    /// <summary>Removes a template. Removing one that does not exist succeeds.</summary>
    /// <param name="filter">As it was put.</param>
    /// <param name="cancellationToken">Ends the waiting; the template may be removed all the same.</param>
    /// <returns>Completes when it is committed.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad filter. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask DeleteTopicTemplateAsync(string filter, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        await CallAnyAsync(
            $"Removing the topic template for '{filter}'",
            (c, o) => c.Admin.DeleteTopicTemplateAsync(new DeleteTopicTemplateRequest { Filter = filter }, o),
            cancellationToken);
    }

    /// <summary>How topics come to be, as the node that answers has applied it.</summary>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>All templates, by filter, and whether topics are made by their first publish.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no broker answered for OperationTimeout.</exception>
    public async ValueTask<TopicRules> ListTopicTemplatesAsync(CancellationToken cancellationToken = default)
    {
        var templates = new Dictionary<string, TopicSettings>(StringComparer.Ordinal);
        var request = new ListTopicTemplatesRequest { PageSize = TemplatesPerPage };
        while (true)
        {
            var page = await CallAnyAsync(
                "Listing topic templates", (c, o) => c.Admin.ListTopicTemplatesAsync(request, o), cancellationToken);
            foreach (var template in page.Templates)
            {
                templates[template.Filter] = ToPartialSettings(template.Config);
            }

            if (page.NextPageToken.Length == 0)
            {
                return new TopicRules(page.AutoCreate, templates);
            }

            request.PageToken = page.NextPageToken;
        }
    }

    /// <summary>
    /// Says whether a publish to a name that no topic has makes one. Off: it fails with NotFound, and the message names
    /// the topics that it may be meant for. New clusters have it on.
    /// </summary>
    /// <param name="enabled">Whether it is to be on.</param>
    /// <param name="cancellationToken">Ends the waiting; it may be set all the same.</param>
    /// <returns>Completes when it is committed; a node follows a network hop later.</returns>
    /// <exception cref="BrokerClientException">Unavailable: no leader for OperationTimeout.</exception>
    public async ValueTask SetAutoCreateAsync(bool enabled, CancellationToken cancellationToken = default) =>
        await CallAnyAsync(
            "Setting auto-create",
            (c, o) => c.Admin.SetAutoCreateAsync(new SetAutoCreateRequest { Enabled = enabled }, o),
            cancellationToken);

    private static TopicSettings ToPartialSettings(TopicConfig config)
    {
        var all = ToSettings(config);
        return new TopicSettings
        {
            Partitions = config.Partitions is null ? null : all.Partitions,
            MaxAge = config.MaxAgeMs is null ? null : all.MaxAge,
            MaxBytes = config.MaxBytes is null ? null : all.MaxBytes,
            MaxRecords = config.MaxRecords is null ? null : all.MaxRecords,
            MaxMessageBytes = config.MaxMessageBytes is null ? null : all.MaxMessageBytes,
            Compact = config.Compact is null ? null : all.Compact,
            CompactAfter = config.CompactAfterMs is null ? null : all.CompactAfter,
            DeleteMarkerAge = config.DeleteMarkerMs is null ? null : all.DeleteMarkerAge,
        };
    }
}
