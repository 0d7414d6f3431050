using System.Globalization;
using System.Text;

namespace Broker.Tests.Demo;

/// <summary>What the main job found.</summary>
public sealed record MainJobReport
{
    public required int Sent { get; init; }

    /// <summary>Rows in the publisher's outbox.</summary>
    public required long Stored { get; init; }

    /// <summary>Messages that were acknowledged with an offset.</summary>
    public required int Committed { get; init; }

    /// <summary>Rows in the subscriber's inbox.</summary>
    public required long Delivered { get; init; }

    /// <summary>Records that the inbox has more than once.</summary>
    public required long Duplicates { get; init; }

    /// <summary>Records that the inbox lacks, and offsets that are skipped or out of order.</summary>
    public required long Gaps { get; init; }

    /// <summary>Rows whose content is none that was sent.</summary>
    public required long Unexpected { get; init; }

    /// <summary>Publishes that the publisher refused.</summary>
    public required IReadOnlyList<string> Refusals { get; init; }

    /// <summary>Longest time between two acknowledgements.</summary>
    public required TimeSpan LongestSilence { get; init; }

    public required TimeSpan Elapsed { get; init; }

    public required IReadOnlyList<string> Events { get; init; }

    public bool IsPerfect => Sent > 0 && Stored == Sent && Committed == Sent && Delivered == Sent
        && Duplicates == 0 && Gaps == 0 && Unexpected == 0 && Refusals.Count == 0;

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var line in Events.Concat(Refusals.Take(5)))
        {
            text.Append("  ").AppendLine(line);
        }

        Add("sent", Sent);
        Add("stored", Stored);
        Add("committed", Committed);
        Add("delivered", Delivered);
        Add("duplicates", Duplicates);
        Add("gaps", Gaps);
        Add("unexpected", Unexpected);
        Add("refused", Refusals.Count);
        Add("longest silence", (long)LongestSilence.TotalMilliseconds, " ms");
        Add("elapsed", (long)Elapsed.TotalSeconds, " s");
        return text.Append(IsPerfect
            ? "Every record is in the inbox exactly once, in offset order."
            : "NOT every record is in the inbox exactly once and in offset order.").ToString();

        void Add(string name, long value, string unit = "") =>
            text.Append(CultureInfo.InvariantCulture, $"{name,-16}{value,10:N0}").AppendLine(unit);
    }
}
