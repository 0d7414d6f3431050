using System.CommandLine;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Topics: make, look, change, remove.</summary>
internal static class TopicVerbs
{
    private static readonly Argument<string> Name = Verb.Name("topic", "Its name, e.g. orders.eu.created.");

    private static readonly Argument<string> Filter = new("filter")
    {
        Description = "Which ones; '*' stands for one token, a last '>' for one or more. Default: all.",
        DefaultValueFactory = _ => ">",
    };

    private static readonly Option<long?> Partitions = Values.Number(
        "--partitions", "So many, each with offsets of its own. Default: 1.", 1, 1_000);

    private static readonly Option<TimeSpan?> MaxAge = Values.Duration(
        "--max-age", "Older records are removed; 0: no limit, the default.");

    private static readonly Option<long?> MaxBytes = Values.Size(
        "--max-bytes", "The newest so many bytes are kept; 0: no limit, the default.");

    private static readonly Option<long?> MaxRecords = Values.Number(
        "--max-records", "The newest so many records are kept; 0: no limit, the default.");

    private static readonly Option<bool?> Compact = new("--compact")
    {
        Description = "Only the last record of each key is kept (true or false).",
        HelpName = "true|false",
    };

    private static readonly Option<TimeSpan?> CompactAfter = Values.Duration(
        "--compact-after", "Younger records are not compacted.");

    private static readonly Option<TimeSpan?> DeleteMarkerAge = Values.Duration(
        "--delete-marker-age", "How long the word that a key is deleted stays. Default: 1d.");

    private static readonly Option<long?> MaxMessageBytes = Values.Size(
        "--max-message-bytes", "Larger values are refused. Default: 1MiB.");

    private static readonly Option<long?> BeforeOffset = Values.Number(
        "--before", "Only what lies before this offset.");

    private static readonly Option<DateTimeOffset?> BeforeTime = Values.Time(
        "--before-time", "Only what is older.");

    private static readonly Option<long?> Partition = Values.Number("--partition", "Only this partition.", 0, 999);

    private static readonly Option<bool> Yes = Verb.Yes();

    private static readonly Column<TopicDetails>[] Details =
    [
        new("name", static topic => topic.Topic.Name),
        new("id", static topic => topic.Topic.Id),
        new("shard", static topic => topic.Topic.Shard),
        new("first_offset", static topic => topic.Topic.FirstOffset),
        new("next_offset", static topic => topic.Topic.NextOffset),
        new("size", static topic => new Bytes(topic.SizeBytes)),
        new("last_record", static topic => topic.LastTimestamp),
        .. Settings.Select(static setting => new Column<TopicDetails>(
            setting.Name, topic => setting.Value(topic.Settings))),
    ];

    private static Column<TopicSettings>[] Settings =>
    [
        new("partitions", static settings => settings.Partitions),
        new("max_age", static settings => settings.MaxAge),
        new("max_bytes", static settings => settings.MaxBytes is { } bytes ? new Bytes(bytes) : null),
        new("max_records", static settings => settings.MaxRecords),
        new("compact", static settings => settings.Compact),
        new("compact_after", static settings => settings.CompactAfter),
        new("delete_marker_age", static settings => settings.DeleteMarkerAge),
        new("max_message_bytes", static settings => settings.MaxMessageBytes),
    ];

    public static Command Create() => Verb.Family(
        "topic",
        "Topics: create, list, info, update, delete, purge; templates for topics that publishes make.",
        Verb.Make(
            "create",
            Verb.WithExamples(
                "Makes a topic. A publish makes one, too, with the defaults, unless auto-create is off.",
                "broker topic create orders --partitions 12 --max-age 7d --max-bytes 10GiB",
                "broker topic create prices --compact true"),
            [Name, .. SettingOptions(Partitions)],
            CreateAsync),
        Verb.Make("list", "Lists topics by name.", [Filter], ListAsync),
        Verb.Make("info", "Shows a topic with its settings and what it holds.", [Name], InfoAsync),
        Verb.Make(
            "update",
            Verb.WithExamples(
                "Changes settings of a topic; those that are not named stay.",
                "broker topic update orders --max-age 1d"),
            [Name, .. SettingOptions()],
            UpdateAsync),
        Verb.Make("delete", "Deletes a topic with all that it holds.", [Name, Yes], DeleteAsync),
        Verb.Make(
            "purge",
            Verb.WithExamples(
                "Removes records for good; the topic and its offsets stay.",
                "broker topic purge orders --before 1000 --yes",
                "broker topic purge orders --before-time 2h"),
            [Name, BeforeOffset, BeforeTime, Partition, Yes],
            PurgeAsync),
        TemplateVerbs());

    private static Command TemplateVerbs()
    {
        var filter = Verb.Name("filter", "Which topics, by their names.");
        var onOff = Verb.Name("on|off", "Whether a publish to a name that no topic has makes one.");
        onOff.AcceptOnlyFromAmong("on", "off");
        return Verb.Family(
            "template",
            "What topics are given that publishes make.",
            Verb.Make(
                "put",
                Verb.WithExamples(
                    "Puts a template, or another one in its place.",
                    "broker topic template put 'logs.>' --max-age 1d"),
                [filter, .. SettingOptions(Partitions)],
                async (session, parsed, cancellationToken) =>
                {
                    var which = parsed.GetRequiredValue(filter);
                    await session.Client.PutTopicTemplateAsync(which, SettingsOf(parsed), cancellationToken);
                    session.Output.Done($"Topics of '{which}' are made by this template.", ("filter", which));
                }),
            Verb.Make(
                "list",
                "Lists the templates, and says whether publishes make topics.",
                [],
                async (session, _, cancellationToken) =>
                {
                    var rules = await session.Client.ListTopicTemplatesAsync(cancellationToken);
                    session.Output.List(
                        rules.Templates.OrderBy(static template => template.Key, StringComparer.Ordinal),
                        [
                            new("filter", static template => template.Key),
                            .. Settings.Select(static setting => new Column<KeyValuePair<string, TopicSettings>>(
                                setting.Name, template => setting.Value(template.Value))),
                        ]);
                    session.Output.Heading(
                        rules.AutoCreate
                            ? "A publish makes its topic."
                            : "A publish makes no topic (auto-create is off).");
                }),
            Verb.Make(
                "delete",
                "Removes a template; topics that it has made stay as they are.",
                [filter],
                async (session, parsed, cancellationToken) =>
                {
                    var which = parsed.GetRequiredValue(filter);
                    await session.Client.DeleteTopicTemplateAsync(which, cancellationToken);
                    session.Output.Done($"The template for '{which}' is gone.", ("filter", which));
                }),
            Verb.Make(
                "auto-create",
                "Says whether a publish to a name that no topic has makes one.",
                [onOff],
                async (session, parsed, cancellationToken) =>
                {
                    var on = parsed.GetRequiredValue(onOff) == "on";
                    await session.Client.SetAutoCreateAsync(on, cancellationToken);
                    session.Output.Done(
                        on ? "A publish makes its topic." : "A publish makes no topic.", ("auto_create", on));
                }));
    }

    private static IEnumerable<Option> SettingOptions(params Option[] first) =>
        [.. first, MaxAge, MaxBytes, MaxRecords, Compact, CompactAfter, DeleteMarkerAge, MaxMessageBytes];

    private static TopicSettings SettingsOf(ParseResult parsed) => new()
    {
        Partitions = parsed.GetResult(Partitions) is null ? null : (int?)parsed.GetValue(Partitions),
        MaxAge = parsed.GetValue(MaxAge),
        MaxBytes = parsed.GetValue(MaxBytes),
        MaxRecords = parsed.GetValue(MaxRecords),
        Compact = parsed.GetValue(Compact),
        CompactAfter = parsed.GetValue(CompactAfter),
        DeleteMarkerAge = parsed.GetValue(DeleteMarkerAge),
        MaxMessageBytes = parsed.GetValue(MaxMessageBytes) is { } bytes ? (int)Math.Min(bytes, int.MaxValue) : null,
    };

    private static async Task CreateAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var settings = await session.Client.CreateTopicAsync(name, SettingsOf(parsed), cancellationToken);
        session.Output.Done(
            $"Topic '{name}' is there, with {settings.Partitions} partition{(settings.Partitions == 1 ? "" : "s")}.",
            ("name", name),
            ("partitions", settings.Partitions));
    }

    private static async Task ListAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topics = await session.Client.ListTopicsAsync(parsed.GetRequiredValue(Filter), cancellationToken);
        session.Output.List(
            topics,
            new("name", static topic => topic.Name),
            new("shard", static topic => topic.Shard),
            new("partitions", static topic => Math.Max(1, topic.Partitions.Count)),
            new("first_offset", static topic => topic.FirstOffset),
            new("next_offset", static topic => topic.NextOffset));
    }

    private static async Task InfoAsync(Session session, ParseResult parsed, CancellationToken cancellationToken) =>
        session.Output.Describe(
            await session.Client.DescribeTopicAsync(parsed.GetRequiredValue(Name), cancellationToken), Details);

    private static async Task UpdateAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var change = SettingsOf(parsed);
        if (change == new TopicSettings())
        {
            throw new UsageException("Nothing is to be changed; name a setting, see --help.");
        }

        var settings = await session.Client.UpdateTopicAsync(name, change, cancellationToken);
        session.Output.Describe(settings, [new("name", _ => name), .. Settings]);
    }

    private static async Task DeleteAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        await session.ConfirmAsync(
            parsed.GetValue(Yes), $"Deleting topic '{name}' with all that it holds", cancellationToken);
        var was = await session.Client.DeleteTopicAsync(name, cancellationToken);
        if (!was)
        {
            throw new BrokerClientException($"There is no topic '{name}'.", BrokerClientErrorCode.NotFound);
        }

        session.Output.Done($"Topic '{name}' is deleted.", ("name", name), ("deleted", was));
    }

    private static async Task PurgeAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var (offset, time) = (parsed.GetValue(BeforeOffset), parsed.GetValue(BeforeTime));
        var partition = (int?)parsed.GetValue(Partition);
        if (time is not null && (offset ?? partition) is not null)
        {
            throw new UsageException("--before-time is for all partitions, and goes without --before and --partition.");
        }

        await session.ConfirmAsync(parsed.GetValue(Yes), $"Purging topic '{name}'", cancellationToken);
        var first = time is { } before
            ? await session.Client.PurgeTopicBeforeAsync(name, before, cancellationToken)
            : partition is { } one
                ? await session.Client.PurgePartitionAsync(name, one, offset, cancellationToken)
                : await session.Client.PurgeTopicAsync(name, offset, cancellationToken);
        session.Output.Done(
            $"Topic '{name}' is purged; its first offset is {first}.",
            ("name", name),
            ("first_offset", first));
    }
}
