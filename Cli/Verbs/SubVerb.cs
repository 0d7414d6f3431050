using System.CommandLine;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Follows all topics that filters match.</summary>
internal static class SubVerb
{
    private static readonly Argument<string[]> Filters = new("filter")
    {
        Description = "Topic names in which '*' stands for one token and a last '>' for one or more.",
        Arity = ArgumentArity.OneOrMore,
    };

    private static readonly Option<bool> FromBeginning = Verb.Flag("--beginning", "Begins with what the topics keep.");

    private static readonly Option<DateTimeOffset?> Since = Values.Time("--since", "Begins at a time.");

    private static readonly Option<long?> Count = Values.Number("--count", "Ends after so many records.", 1);

    public static Command Create() => Verb.Make(
        "sub",
        Verb.WithExamples(
            "Prints what is published to topics, from now on, until Ctrl-C or --count. It is no member of a group, and "
            + "takes nothing from one (see 'group consume').",
            "broker sub 'orders.>'",
            "broker sub 'orders.*' 'bills.*' --since 10m -o json"),
        [Filters, FromBeginning, Since, Count],
        RunAsync);

    private static async Task RunAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var options = new SubscribeOptions
        {
            FromBeginning = parsed.GetValue(FromBeginning),
            FromTime = parsed.GetValue(Since),
        };
        if (options is { FromBeginning: true, FromTime: not null })
        {
            throw new UsageException("A subscription begins at one place, not at --beginning and --since.");
        }

        var filters = parsed.GetRequiredValue(Filters);
        await using var subscription = await session.Client.SubscribeAsync(filters, options, cancellationToken);
        if (session.Output is { IsTerminal: true, Format: OutputFormat.Table })
        {
            await session.Error.WriteLineAsync($"Following {string.Join(", ", filters)}; Ctrl-C ends it.");
        }

        var left = parsed.GetValue(Count) ?? long.MaxValue;
        await foreach (var record in subscription.WithCancellation(cancellationToken))
        {
            RecordText.Print(session.Output, record);
            if (--left == 0)
            {
                return;
            }
        }
    }
}
