using System.CommandLine;
using System.Globalization;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Records that a group has given up.</summary>
internal static class DeadLetterVerbs
{
    private static readonly Argument<string> Group = Verb.Name("group", "Whose; it may be deleted by now.");

    private static readonly Argument<string[]> Positions = new("position")
    {
        Description = "Which ones, as 'dlq list' shows them: 12, or 1/12 in partition 1. Default: all.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Argument<string[]> OnePosition = new("position")
    {
        Description = "Which ones, as 'dlq list' shows them. Default: the first.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<long?> Count = Values.Number("--count", "At most so many.", 1);

    private static readonly Option<long?> Rate = Values.Number(
        "--rate", "So many a second. Default: as fast as possible.", 1, 100_000);

    private static readonly Option<bool> Yes = Verb.Yes();

    private static readonly Column<DeadLetter>[] Columns =
    [
        new("position", static letter => Text(letter.Position)),
        new("topic", static letter => letter.Record.Topic),
        new("partition", static letter => letter.Record.Partition),
        new("offset", static letter => letter.Record.Offset),
        new("died", static letter => letter.Died),
        new("attempts", static letter => letter.Attempts),
        new("reason", static letter => letter.Reason),
    ];

    public static Command Create() => Verb.Family(
        "dlq",
        "Dead letters of a group: list, peek, redrive, purge.",
        Verb.Make("list", "Lists them by position: where each comes from, and why it died.", [Group, Count], ListAsync),
        Verb.Make(
            "peek",
            Verb.WithExamples("Prints dead letters with their content.", "broker dlq peek billing 0 -o json"),
            [Group, OnePosition],
            PeekAsync),
        Verb.Make(
            "redrive",
            Verb.WithExamples(
                "Has them delivered to their group again, as if for the first time.",
                "broker dlq redrive billing --rate 100",
                "broker dlq redrive billing 0 4 7"),
            [Group, Positions, Rate],
            RedriveAsync),
        Verb.Make("purge", "Removes them for good.", [Group, Positions, Yes], PurgeAsync));

    private static string Text(DeadLetterPosition position) => position.Partition == 0
        ? position.Offset.ToString(CultureInfo.InvariantCulture)
        : string.Create(CultureInfo.InvariantCulture, $"{position.Partition}/{position.Offset}");

    private static List<DeadLetterPosition>? PositionsOf(string[] texts) =>
        texts.Length == 0 ? null : [.. texts.Select(Parse)];

    private static DeadLetterPosition Parse(string text)
    {
        var parts = text.Split('/');
        var (partition, offset) = (0, 0L);
        return parts.Length <= 2
            && long.TryParse(parts[^1], NumberStyles.None, CultureInfo.InvariantCulture, out offset)
            && (parts.Length == 1
                || int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out partition))
                ? new DeadLetterPosition(partition, offset)
                : throw new UsageException($"'{text}' is no position; 'dlq list' shows them, as 12 or 1/12.");
    }

    private static async Task ListAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var letters = new List<DeadLetter>();
        var most = parsed.GetValue(Count) ?? long.MaxValue;
        await foreach (var letter in session.Client.ListDeadLettersAsync(
            parsed.GetRequiredValue(Group), cancellationToken))
        {
            letters.Add(letter);
            if (letters.Count == most)
            {
                break;
            }
        }

        session.Output.List(letters, Columns);
    }

    private static async Task PeekAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var group = parsed.GetRequiredValue(Group);
        var wanted = PositionsOf(parsed.GetRequiredValue(OnePosition))?.ToHashSet();
        var found = 0;
        await foreach (var letter in session.Client.ListDeadLettersAsync(group, cancellationToken))
        {
            if (wanted is not null && !wanted.Remove(letter.Position))
            {
                continue;
            }

            found++;
            RecordText.Print(session.Output, letter.Record, json =>
            {
                json["position"] = Text(letter.Position);
                json["died"] = Output.Time(letter.Died);
                json["attempts"] = letter.Attempts;
                json["reason"] = letter.Reason;
            });
            if (wanted is null or { Count: 0 })
            {
                return;
            }
        }

        if (found == 0 || wanted is { Count: > 0 })
        {
            throw new BrokerClientException(
                wanted is null
                    ? $"Group '{group}' has no dead letters."
                    : $"Group '{group}' has no dead letter at {string.Join(", ", wanted.Select(Text))}.",
                BrokerClientErrorCode.NotFound);
        }
    }

    private static async Task RedriveAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var group = parsed.GetRequiredValue(Group);
        var count = await session.Client.RedriveDeadLettersAsync(
            group, PositionsOf(parsed.GetRequiredValue(Positions)), (int?)parsed.GetValue(Rate), cancellationToken);
        session.Output.Done(
            $"{count:N0} dead letter{(count == 1 ? " is" : "s are")} delivered to '{group}' again.",
            ("group", group),
            ("redriven", count));
    }

    private static async Task PurgeAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var group = parsed.GetRequiredValue(Group);
        await session.ConfirmAsync(
            parsed.GetValue(Yes), $"Removing dead letters of group '{group}'", cancellationToken);
        var count = await session.Client.PurgeDeadLettersAsync(
            group, PositionsOf(parsed.GetRequiredValue(Positions)), cancellationToken);
        session.Output.Done(
            $"{count:N0} dead letter{(count == 1 ? " is" : "s are")} gone.",
            ("group", group),
            ("purged", count));
    }
}
