using System.CommandLine;
using System.Globalization;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Consumer groups: make, look, change, move, remove; and one consumer by hand.</summary>
internal static class GroupVerbs
{
    private static readonly Argument<string> Name = Verb.Name("group", "Its name.");

    private static readonly Argument<string[]> Filters = new("filter")
    {
        Description = "What it follows; '*' stands for one token of a topic's name, a last '>' for one or more.",
        Arity = ArgumentArity.OneOrMore,
    };

    private static readonly Option<string[]> NewFilters = new("--filter")
    {
        Description = "What it follows from now on; several by several options.",
        DefaultValueFactory = _ => [],
    };

    private static readonly Option<GroupMode?> Mode = Values.Choice<GroupMode>(
        "--mode",
        "Shared: all consumers share the records. KeyOrdered: those of a key come one by one, in order. Exclusive: one "
        + "consumer gets all, the others stand by. Default: shared.");

    private static readonly Option<GroupOrder?> Order = Values.Choice<GroupOrder>(
        "--order", "In which order what waits is delivered. Fair: keys take turns. Default: offset.");

    private static readonly Option<TimeSpan?> AckWait = Values.Duration(
        "--ack-wait", "A record that is not settled for so long is delivered again. Default: 30s.");

    private static readonly Option<long?> MaxDeliveries = Values.Number(
        "--max-deliveries", "After so many a record is a dead letter; 0: never.", 0, int.MaxValue);

    private static readonly Option<long?> MaxOutstanding = Values.Number(
        "--max-outstanding", "So many may be delivered and not settled.", 1, int.MaxValue);

    private static readonly Option<string?> BackOff = Verb.Text(
        "--back-off", "Waits before the second delivery, the third and so on: 1s,10s,1m.", "durations");

    private static readonly Option<bool?> DeadLetters = new("--dead-letters")
    {
        Description = "Whether dead letters are kept (true or false).",
        HelpName = "true|false",
    };

    private static readonly Option<string?> Start = Verb.Text(
        "--start", "beginning (the default), end, or a time as for --since of 'read'.", "place");

    private static readonly Argument<string> Place = Verb.Name(
        "place", "beginning, end, an offset (needs --topic), or a time as 2026-11-27T15:00:00Z or 2h.");

    private static readonly Option<string?> Topic = Verb.Text("--topic", "Only this topic. Default: all of the group.");

    private static readonly Option<long?> Partition = Values.Number("--partition", "Only this partition.", 0, 999);

    private static readonly Option<bool> Yes = Verb.Yes();

    private static readonly Option<long?> Count = Values.Number("--count", "Ends after so many records.", 1);

    private static readonly Argument<string> State = MakeState();

    private static readonly Option<string?> Then = Verb.Text(
        "--then", "What is done with each: ack (the default), nack (it comes again) or nothing.", "ack|nack|nothing");

    private static readonly Column<GroupSettings>[] Settings =
    [
        new("filters", static settings => settings.Filters),
        new("mode", static settings => settings.Mode?.ToString().ToLowerInvariant()),
        new("order", static settings => settings.Order?.ToString().ToLowerInvariant()),
        new("ack_wait", static settings => settings.AckWait),
        new("max_deliveries", static settings => settings.MaxDeliveries),
        new("max_outstanding", static settings => settings.MaxOutstanding),
        new("back_off", static settings => settings.BackOff),
        new("dead_letters_kept", static settings => settings.KeepDeadLetters),
        new("paused", static settings => settings.Paused),
    ];

    private static readonly Column<GroupConsumerInfo>[] Consumers =
    [
        new("name", static consumer => consumer.Name),
        new("node", static consumer => consumer.NodeId),
        new("outstanding", static consumer => consumer.Outstanding),
        new("credit", static consumer => consumer.Credit),
        new("served", static consumer => consumer.Served),
    ];

    private static readonly Column<GroupProgressInfo>[] Progress =
    [
        new("topic", static place => place.Topic),
        new("partition", static place => place.Partition),
        new("ack_floor", static place => place.AckFloor),
        new("next_offset", static place => place.NextOffset),
        new("lag", static place => place.Lag),
        new("lag_time", static place => place.LagTime),
        new("outstanding", static place => place.Outstanding),
        new("waiting", static place => place.Waiting),
        new("redeliveries", static place => place.Redeliveries),
        new("expired", static place => place.Expired),
    ];

    public static Command Create() => Verb.Family(
        "group",
        "Consumer groups: create, list, info, update, seek, pause, resume, delete, peek, consume.",
        Verb.Make(
            "create",
            Verb.WithExamples(
                "Makes a group. A consumer makes one, too, with the defaults.",
                "broker group create billing 'orders.>' --max-deliveries 5 --back-off 1s,10s,1m",
                "broker group create ledger payments --mode keyordered --start end"),
            [Name, Filters, .. SettingOptions(), Start],
            CreateAsync),
        Verb.Make("list", "Lists groups by name.", [], ListAsync),
        Verb.Make("info", "Shows a group: settings, consumers, how far it is in each topic.", [Name], InfoAsync),
        Verb.Make(
            "update",
            Verb.WithExamples(
                "Changes settings of a group; those that are not named stay.",
                "broker group update billing --ack-wait 2m"),
            [Name, NewFilters, .. SettingOptions()],
            UpdateAsync),
        Verb.Make(
            "seek",
            Verb.WithExamples(
                "Moves a group: what lies behind the place is delivered, again if it was before.",
                "broker group seek billing beginning --yes",
                "broker group seek billing 2h --topic orders.eu",
                "broker group seek billing 1000 --topic orders.eu --partition 2"),
            [Name, Place, Topic, Partition, Yes],
            SeekAsync),
        Verb.Make(
            "pause", "Delivers nothing more until it is resumed.", [Name],
            (session, parsed, token) => PauseAsync(session, parsed, paused: true, token)),
        Verb.Make(
            "resume", "Delivers again.", [Name],
            (session, parsed, token) => PauseAsync(session, parsed, paused: false, token)),
        Verb.Make("delete", "Deletes a group and how far it is; its dead letters stay.", [Name, Yes], DeleteAsync),
        Verb.Make(
            "peek",
            Verb.WithExamples(
                "Shows single records of a group by their state, and changes nothing.",
                "broker group peek billing outstanding --count 20"),
            [Name, State, Count],
            PeekAsync),
        Verb.Make(
            "consume",
            Verb.WithExamples(
                "Takes part in a group as one consumer, prints what it gets, and settles it, until Ctrl-C or --count.",
                "broker group consume billing --count 10",
                "broker group consume billing --then nothing    # comes again when the group's ack wait is over"),
            [Name, Count, Then],
            ConsumeAsync));

    private static Argument<string> MakeState()
    {
        var state = Verb.Name("state", "waiting, outstanding or delayed; dead ones shows 'dlq list'.");
        state.AcceptOnlyFromAmong("waiting", "outstanding", "delayed");
        return state;
    }

    private static IEnumerable<Option> SettingOptions() =>
        [Mode, Order, AckWait, MaxDeliveries, MaxOutstanding, BackOff, DeadLetters];

    private static GroupSettings SettingsOf(ParseResult parsed, string[] filters) => new()
    {
        Filters = filters.Length > 0 ? filters : null,
        Mode = parsed.GetValue(Mode),
        Order = parsed.GetValue(Order),
        AckWait = parsed.GetValue(AckWait),
        MaxDeliveries = (int?)parsed.GetValue(MaxDeliveries),
        MaxOutstanding = (int?)parsed.GetValue(MaxOutstanding),
        BackOff = parsed.GetValue(BackOff) is { } waits ? ParseBackOff(waits) : null,
        KeepDeadLetters = parsed.GetValue(DeadLetters),
    };

    private static List<TimeSpan> ParseBackOff(string text)
    {
        try
        {
            return [.. text.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(Durations.Parse)];
        }
        catch (FormatException e)
        {
            throw new UsageException($"--back-off is '{text}'; {e.Message}, several by commas.");
        }
    }

    private static GroupPlace PlaceOf(string text)
    {
        if (text is "beginning" or "end")
        {
            return text == "end" ? GroupPlace.End : GroupPlace.Beginning;
        }

        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset))
        {
            return GroupPlace.At(offset);
        }

        try
        {
            return GroupPlace.At(Values.ParseTime(text, Session.Clock));
        }
        catch (FormatException)
        {
            throw new UsageException(
                $"The place is '{text}'; expected beginning, end, an offset, or a time as 2026-11-27T15:00:00Z or 2h.");
        }
    }

    private static async Task CreateAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var start = PlaceOf(parsed.GetValue(Start) ?? "beginning");
        if (start.Offset is not null)
        {
            throw new UsageException("--start is beginning, end or a time; for an offset make the group, then seek.");
        }

        var settings = await session.Client.CreateGroupAsync(
            name, SettingsOf(parsed, parsed.GetRequiredValue(Filters)), start, cancellationToken);
        session.Output.Done(
            $"Group '{name}' follows {string.Join(", ", settings.Filters!)}.",
            ("name", name),
            ("filters", settings.Filters));
    }

    private static async Task ListAsync(Session session, ParseResult parsed, CancellationToken cancellationToken) =>
        session.Output.List(
            await session.Client.ListGroupsAsync(figures: true, cancellationToken: cancellationToken),
            new("name", static group => group.Name),
            new("consumers", static group => group.Consumers),
            new("lag", static group => group.Lag),
            new("dead_letters", static group => group.DeadLetters),
            new("paused", static group => group.Paused));

    private static async Task InfoAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var details = await session.Client.DescribeGroupAsync(
            parsed.GetRequiredValue(Name), cancellationToken);
        Column<GroupDetails>[] properties =
        [
            new("name", static group => group.Group.Name),
            .. Settings.Select(static setting => new Column<GroupDetails>(
                setting.Name, group => setting.Value(group.Settings))),
            new("lag", static group => group.Group.Lag),
            new("dead_letters", static group => group.Group.DeadLetters),
        ];
        if (session.Output.Format == OutputFormat.Json)
        {
            var json = Output.Object(properties, details);
            json["consumers"] = new System.Text.Json.Nodes.JsonArray(
                [.. details.Consumers.Select(static consumer => Output.Object(Consumers, consumer))]);
            json["progress"] = new System.Text.Json.Nodes.JsonArray(
                [.. details.Progress.Select(static place => Output.Object(Progress, place))]);
            session.Output.WriteJson(json);
            return;
        }

        session.Output.Describe(details, properties);
        session.Output.Heading("Consumers:");
        if (details.Consumers.Count > 0)
        {
            session.Output.List(details.Consumers, Consumers);
        }

        session.Output.Heading("Progress:");
        session.Output.List(details.Progress, Progress);
    }

    private static async Task UpdateAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var change = SettingsOf(parsed, parsed.GetValue(NewFilters)!);
        if (change == new GroupSettings())
        {
            throw new UsageException("Nothing is to be changed; name a setting, see --help.");
        }

        var settings = await session.Client.UpdateGroupAsync(name, change, cancellationToken);
        session.Output.Describe(settings, [new("name", _ => name), .. Settings]);
    }

    private static async Task SeekAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var place = PlaceOf(parsed.GetRequiredValue(Place));
        var topic = parsed.GetValue(Topic);
        if (place.Offset is not null && topic is null)
        {
            throw new UsageException("An offset counts within one topic: name it by --topic.");
        }

        await session.ConfirmAsync(parsed.GetValue(Yes), $"Moving group '{name}'", cancellationToken);
        session.Output.List(
            await session.Client.SeekGroupAsync(
                name, place, topic, (int?)parsed.GetValue(Partition), cancellationToken),
            Progress);
    }

    private static async Task PauseAsync(
        Session session, ParseResult parsed, bool paused, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        await session.Client.UpdateGroupAsync(name, new GroupSettings { Paused = paused }, cancellationToken);
        session.Output.Done(
            paused ? $"Group '{name}' is paused." : $"Group '{name}' delivers again.",
            ("name", name),
            ("paused", paused));
    }

    private static async Task DeleteAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        await session.ConfirmAsync(
            parsed.GetValue(Yes), $"Deleting group '{name}' and how far it is", cancellationToken);
        var was = await session.Client.DeleteGroupAsync(name, cancellationToken);
        if (!was)
        {
            throw new BrokerClientException($"There is no group '{name}'.", BrokerClientErrorCode.NotFound);
        }

        session.Output.Done($"Group '{name}' is deleted.", ("name", name), ("deleted", was));
    }

    private static async Task PeekAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var state = Enum.Parse<DeliveryState>(parsed.GetRequiredValue(State), ignoreCase: true);
        var records = new List<PeekedRecord>();
        var most = parsed.GetValue(Count) ?? 100;
        await foreach (var record in session.Client.PeekGroupAsync(
            parsed.GetRequiredValue(Name), state, cancellationToken))
        {
            records.Add(record);
            if (records.Count == most)
            {
                break;
            }
        }

        session.Output.List(
            records,
            new("topic", static record => record.Topic),
            new("partition", static record => record.Partition),
            new("offset", static record => record.Offset),
            new("deliveries", static record => record.Deliveries),
            new("consumer", static record => record.Consumer),
            new("lease_end", static record => record.LeaseEnd),
            new("due", static record => record.Due));
    }

    private static async Task ConsumeAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var then = parsed.GetValue(Then) ?? "ack";
        if (then is not ("ack" or "nack" or "nothing"))
        {
            throw new UsageException($"--then is '{then}'; expected ack, nack or nothing.");
        }

        var left = parsed.GetValue(Count) ?? long.MaxValue;
        while (left > 0)
        {
            // Never more than it will print: what it left would count as delivered.
            var wanted = (int)Math.Min(left, 100);
            var fetched = await session.Client.FetchAsync(
                name, wanted, TimeSpan.FromSeconds(10), cancellationToken: cancellationToken);
            foreach (var delivery in fetched)
            {
                await TakeAsync(session, delivery, then, cancellationToken);
                left--;
            }
        }
    }

    private static async Task TakeAsync(
        Session session, GroupRecord delivery, string then, CancellationToken cancellationToken)
    {
        RecordText.Print(session.Output, delivery.Record, json => json["attempt"] = delivery.Attempt);
        var isSettled = then switch
        {
            "ack" => await delivery.AckAsync(cancellationToken),
            "nack" => await delivery.NackAsync(cancellationToken: cancellationToken),
            _ => true,
        };
        if (!isSettled)
        {
            await session.Error.WriteLineAsync(
                $"broker: {delivery.Record.Topic}@{delivery.Record.Offset} was not this consumer's any more; it may "
                + "come again.");
        }
    }
}
