using System.Data.Common;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using Broker.Client;
using Dapper;
using Npgsql;

namespace Subscriber.Inbox;

/// <summary>A message of the inbox. Headers are encoded as fields 3 of broker.v1.Record; null: none.</summary>
internal sealed record InboxMessage(
    long InboxId, string Topic, long Offset, long TimestampUnixMs, byte[]? Key, byte[] Value, byte[]? Headers);

/// <summary>Reads the inbox for those downstream, in the order of inbox ids, which is the order of commits.</summary>
internal sealed class InboxReader(NpgsqlDataSource database, InboxGrowth growth, TimeProvider time)
{
    // Another instance may have stored something without this one's signal.
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    // The inner query ends at the rows' limit, the outer one at the bytes' limit, and never before the first row.
    private const string PageSql = """
        SELECT inbox_id AS "InboxId", topic AS "Topic", "offset" AS "Offset", timestamp_unix_ms AS "TimestampUnixMs",
            key AS "Key", value AS "Value", headers AS "Headers"
        FROM (
            SELECT *, sum(octet_length(value)) OVER (ORDER BY inbox_id) - octet_length(value) AS bytes_before
            FROM (
                SELECT * FROM inbox WHERE inbox_id > @after AND inbox_id <= @upTo {0} ORDER BY inbox_id LIMIT @limit
            ) AS page
        ) AS sized
        WHERE bytes_before < @bytes
        ORDER BY inbox_id
        """;

    /// <summary>
    /// Messages after an id; with follow also those that are still to come. Errors: Invalid, Unavailable.
    /// </summary>
    public async IAsyncEnumerable<InboxMessage> ReadAsync(
        string? filter,
        long after,
        bool follow,
        long limit,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var condition = Condition.Of(filter);
        var left = limit > 0 ? limit : long.MaxValue;
        while (true)
        {
            var growing = growth.Signal.Next;
            var page = await PageAsync(
                condition, after, (int)Math.Min(left, SubscriberLimits.ReadRows), cancellationToken);
            foreach (var message in page.Messages)
            {
                yield return message;
            }

            after = page.Next;
            left -= page.Messages.Count;
            if (left == 0 || (page.IsLast && !follow))
            {
                yield break;
            }

            if (page.IsLast)
            {
                await Task.WhenAny(growing, Task.Delay(LookAgain, time, cancellationToken));
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
    }

    // The highest id is taken first: what matches nothing up to there need not be looked at again.
    private async Task<Page> PageAsync(Condition condition, long after, int limit, CancellationToken cancellationToken)
    {
        try
        {
            await using var connection = await database.OpenConnectionAsync(cancellationToken);
            var upTo = await connection.ExecuteScalarAsync<long?>(new CommandDefinition(
                "SELECT max(inbox_id) FROM inbox", cancellationToken: cancellationToken)) ?? 0;
            if (upTo <= after)
            {
                return new Page([], after, true);
            }

            var rows = await connection.QueryAsync<InboxMessage>(new CommandDefinition(
                condition.Sql,
                new { after, upTo, limit, bytes = (long)SubscriberLimits.ReadBytes, topic = condition.Topic },
                cancellationToken: cancellationToken));
            var messages = rows.AsList();
            return messages.Count == 0
                ? new Page(messages, upTo, true)
                : new Page(messages, messages[^1].InboxId, messages[^1].InboxId == upTo);
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            throw new SubscriberException(
                SubscriberFailure.Unavailable, "Postgres is away. Go on later after the last id that you have.", e);
        }
    }

    private readonly record struct Page(List<InboxMessage> Messages, long Next, bool IsLast);

    /// <summary>
    /// A topic filter as SQL: a comparison where it is literal, an anchored regular expression where it is not.
    /// </summary>
    internal sealed record Condition(string Sql, string Topic)
    {
        public static Condition Of(string? filter)
        {
            if (string.IsNullOrEmpty(filter) || filter == ">")
            {
                return new Condition(Format(""), "");
            }

            if (!TopicFilter.TryParse(filter, out var parsed, out var reason))
            {
                throw new SubscriberException(SubscriberFailure.Invalid, reason);
            }

            return parsed.IsLiteral
                ? new Condition(Format("AND topic = @topic"), filter)
                : new Condition(Format("AND topic ~ @topic"), ToRegex(filter));
        }

        /// <summary>orders.*.created becomes ^orders\.[^.]+\.created$, orders.> becomes ^orders\..+$.</summary>
        internal static string ToRegex(string filter)
        {
            var regex = new StringBuilder("^");
            foreach (var token in filter.Split('.'))
            {
                regex.Append(regex.Length > 1 ? "\\." : "").Append(token switch
                {
                    "*" => "[^.]+",
                    ">" => ".+",
                    _ => Regex.Escape(token),
                });
            }

            return regex.Append('$').ToString();
        }

        private static string Format(string condition) => PageSql.Replace("{0}", condition, StringComparison.Ordinal);
    }
}
