using System.CommandLine;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Reads a topic's log, and leaves no trace there.</summary>
internal static class ReadVerb
{
    private static readonly Argument<string> Topic = Verb.Name("topic", "Which one; a name, no filter (see 'sub').");

    private static readonly Option<long?> From = Values.Number("--from", "The first offset. Default: the beginning.");

    private static readonly Option<DateTimeOffset?> Since = Values.Time("--since", "Begins at a time.");

    private static readonly Option<long?> Last = Values.Number("--last", "The last so many records.", 1);

    private static readonly Option<bool> LastPerKey = Verb.Flag("--last-per-key", "The last record of each key.");

    private static readonly Option<bool> FromEnd = Verb.Flag(
        "--end", "Begins after what is there; with --follow only what is new.");

    private static readonly Option<long?> Partition = Values.Number(
        "--partition", "Which partition, from 0. Default: 0.", 0, 999);

    private static readonly Option<long?> Count = Values.Number(
        "--count", "Ends after so many records.", 1, int.MaxValue);

    private static readonly Option<bool> Follow = new("--follow", "-f")
    {
        Description = "Stays at the end, and prints what comes, until Ctrl-C or --count.",
    };

    private static readonly Option<bool> Local = Verb.Flag(
        "--local",
        "What the asked broker has, also while nobody leads. Default: all that was acknowledged before, at whatever "
        + "broker.");

    public static Command Create() => Verb.Make(
        "read",
        Verb.WithExamples(
            "Reads a topic in the order of its offsets. With -o plain it prints the values alone, a line each.",
            "broker read orders --last 10",
            "broker read orders --since 2h -o json",
            "broker read orders --end --follow"),
        [Topic, From, Since, Last, LastPerKey, FromEnd, Partition, Count, Follow, Local],
        RunAsync);

    private static async Task RunAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var starts = new Option[] { From, Since, Last, LastPerKey, FromEnd }
            .Where(option => parsed.GetResult(option) is { Implicit: false })
            .Select(static option => option.Name)
            .ToList();
        if (starts.Count > 1)
        {
            throw new UsageException($"A read begins at one place, not at {string.Join(" and ", starts)}.");
        }

        var partition = (int)(parsed.GetValue(Partition) ?? 0);
        var options = new ReadOptions
        {
            Partition = partition,
            FromOffset = parsed.GetValue(Last) is { } last
                ? await FirstOfLastAsync(session, topic, partition, last, cancellationToken)
                : parsed.GetValue(From),
            FromTime = parsed.GetValue(Since),
            LastPerKey = parsed.GetValue(LastPerKey),
            FromEnd = parsed.GetValue(FromEnd),
            Follow = parsed.GetValue(Follow),
            Linearizable = !parsed.GetValue(Local),
            MaxRecords = (int)(parsed.GetValue(Count) ?? 0),
        };
        await foreach (var record in session.Client.ReadAsync(topic, options, cancellationToken))
        {
            RecordText.Print(session.Output, record);
        }
    }

    private static async Task<long> FirstOfLastAsync(
        Session session, string topic, int partition, long count, CancellationToken cancellationToken)
    {
        var described = (await session.Client.DescribeTopicAsync(topic, linearizable: true, cancellationToken)).Topic;
        var (first, next) = (described.FirstOffset, described.NextOffset);
        if (described.Partitions.Count > 0)
        {
            if (partition >= described.Partitions.Count)
            {
                throw new UsageException(
                    $"Topic '{topic}' has {described.Partitions.Count} partitions, from 0; there is no {partition}.");
            }

            (first, next) = (described.Partitions[partition].FirstOffset, described.Partitions[partition].NextOffset);
        }

        return Math.Max(first, next - count);
    }
}
