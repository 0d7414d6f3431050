using System.CommandLine;
using System.Globalization;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Messages whose time of delivery has not come.</summary>
internal static class DelayedVerbs
{
    private static readonly Argument<string> Topic = Verb.Name("topic", "Which one.");

    private static readonly Argument<string[]> Offsets = new("offset")
    {
        Description = "Which ones, as 'delayed list' shows them.",
        Arity = ArgumentArity.OneOrMore,
    };

    private static readonly Option<long?> Partition = Values.Number("--partition", "Only this partition.", 0, 999);

    private static readonly Option<long?> Count = Values.Number("--count", "At most so many.", 1);

    public static Command Create() => Verb.Family(
        "delayed",
        "Messages whose time of delivery has not come: list, cancel.",
        Verb.Make("list", "Lists them by partition and offset.", [Topic, Partition, Count], ListAsync),
        Verb.Make(
            "cancel",
            Verb.WithExamples(
                "Takes back that they are delivered to groups; reads get them all the same.",
                "broker delayed cancel reminders 12 13"),
            [Topic, Offsets, Partition],
            CancelAsync));

    private static async Task ListAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var messages = new List<DelayedMessage>();
        var most = parsed.GetValue(Count) ?? long.MaxValue;
        await foreach (var message in session.Client.ListDelayedAsync(
            parsed.GetRequiredValue(Topic), (int?)parsed.GetValue(Partition), cancellationToken))
        {
            messages.Add(message);
            if (messages.Count == most)
            {
                break;
            }
        }

        session.Output.List(
            messages,
            new("partition", static message => message.Partition),
            new("offset", static message => message.Offset),
            new("deliver_at", static message => message.DeliverAt));
    }

    private static async Task CancelAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var offsets = parsed.GetRequiredValue(Offsets).Select(static text =>
            long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset)
                ? offset
                : throw new UsageException($"'{text}' is no offset; 'delayed list' shows them.")).ToList();
        var count = await session.Client.CancelDelayedAsync(
            topic, offsets, (int)(parsed.GetValue(Partition) ?? 0), cancellationToken);
        session.Output.Done(
            $"{count:N0} of {offsets.Count:N0} will not be delivered.",
            ("topic", topic),
            ("cancelled", count));
    }
}
